"""Files and tests that the pages name exist."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PAGES = sorted([*(ROOT / "docs").glob("*.md"), *ROOT.glob("*.md"), *ROOT.glob("*/README.md")])
#: Not ``configs`` and ``docs`` themselves, which bundles have too.
FOLDERS = "benchmarks|configs/overlays|configs/sources|data_prep|docker|mose_med|pipelines|tests"
PATH = re.compile(rf"(?<![\w/.-])((?:{FOLDERS})(?:/[\w-]+)*/[\w-]+\.(?:py|md|yaml|json|toml|pt|ts|ipynb))(?![\w*])")
TEST = re.compile(r"`(?:[\w/]*/)?(test_\w+\.py)::(test_\w+)`")


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_file_that_a_page_names_exists(page: Path):
    named = set(PATH.findall(page.read_text(encoding="utf-8")))
    assert sorted(name for name in named if not (ROOT / name).exists()) == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_test_that_a_page_names_exists(page: Path):
    named = TEST.findall(page.read_text(encoding="utf-8"))
    assert [pair for pair in named if not has_test(*pair)] == []


def has_test(file: str, name: str) -> bool:
    return any(f"def {name}(" in path.read_text(encoding="utf-8") for path in (ROOT / "tests").rglob(file))
