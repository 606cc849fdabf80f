"""Files and folders that docs/architecture.md names exist."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = ("configs", "data_prep", "mose_med", "pipelines")
PAGE = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
WISHES = PAGE.split("## Where do I change ..?")[1].strip().splitlines()[2:]
#: Every folder and file of the packages, as ``/mose_med/io/ct.py``.
PATHS = [f"/{path.relative_to(ROOT)}" for package in PACKAGES for path in (ROOT / package).rglob("*")]


def paths_in(text: str) -> list[str]:
    """What the text names between backticks that is a path or a Python file."""
    names = re.findall(r"`([\w./-]+)`", text)
    return [name for name in names if "/" in name or name.endswith(".py")]


@pytest.mark.parametrize("name", sorted(set(paths_in(PAGE))))
def test_a_named_path_exists_whole_or_as_the_end_of_one(name: str):
    in_full = name.split("/")[0] in (*PACKAGES, "tests")
    assert (ROOT / name).exists() if in_full else any(path.endswith(f"/{name.rstrip('/')}") for path in PATHS)


@pytest.mark.parametrize("wish", WISHES)
def test_a_wish_names_where_to_change_it(wish: str):
    assert paths_in(wish)


def test_there_are_ten_wishes():
    assert len(WISHES) >= 10
