from __future__ import annotations

import re
from pathlib import Path

import pytest

from benchmarks.pages import RESULTS, with_tables
from benchmarks.scale.simulation import main, read_measurements
from benchmarks.scale.tables import TABLES

PAGE = Path(__file__).parents[2] / "docs" / "scale.md"


def test_the_page_is_what_the_measurements_give():
    page = PAGE.read_text(encoding="utf-8")
    assert with_tables(page, TABLES, read_measurements(RESULTS)) == page


def test_every_table_has_a_place_on_the_page():
    places = re.findall(r"<!-- table ([a-z-]+) -->", PAGE.read_text(encoding="utf-8"))
    assert sorted(places) == sorted(TABLES)


def test_other_measurements_change_the_page():
    measured = read_measurements(RESULTS)
    measured["cohort"]["discovery"]["seconds"] = 123.4
    assert "| 123.4 s |" in with_tables(PAGE.read_text(encoding="utf-8"), TABLES, measured)


def test_the_command_replaces_the_tables_of_a_page(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    page = tmp_path / "page.md"
    page.write_text("before\n<!-- table data -->\n<!-- end -->\nafter\n")
    monkeypatch.setattr("sys.argv", ["simulation", "--write-docs", str(page)])
    main()
    assert page.read_text().startswith("before\n<!-- table data -->\n| ")
    assert page.read_text().endswith("|\n<!-- end -->\nafter\n")
