from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from mose_med.files.user_cache import kept_once


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    return tmp_path / "mose_med"


def refuse() -> dict[str, Any]:
    raise AssertionError


def test_what_was_found_is_not_looked_for_again(cache: Path):
    assert kept_once("kind/key", lambda: {"value": 1.5}) == {"value": 1.5}
    assert kept_once("kind/key", refuse) == {"value": 1.5}
    assert json.loads((cache / "kind" / "key.json").read_text()) == {"value": 1.5}
    assert [path.name for path in (cache / "kind").iterdir()] == ["key.json"]


@pytest.mark.parametrize("content", ["", "{", "[1]", "\x00"])
def test_a_damaged_file_is_replaced(cache: Path, content: str):
    (cache / "kind").mkdir(parents=True)
    (cache / "kind" / "key.json").write_text(content)
    assert kept_once("kind/key", lambda: {"value": 2}) == {"value": 2}
    assert kept_once("kind/key", refuse) == {"value": 2}


def test_all_that_look_at_once_take_what_the_first_kept():
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(lambda number: kept_once("kind/key", lambda: {"value": number})["value"], range(64)))
    assert set(found[8:]) == {kept_once("kind/key", refuse)["value"]}


def test_a_folder_that_cannot_be_written_only_costs_time(cache: Path):
    cache.write_text("a file")
    assert kept_once("kind/key", lambda: {"value": 1}) == {"value": 1}
    assert kept_once("kind/key", lambda: {"value": 2}) == {"value": 2}
