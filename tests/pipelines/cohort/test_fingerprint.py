from __future__ import annotations

import os
from pathlib import Path

import pytest

from pipelines.cohort.entries import Entry
from pipelines.cohort.fingerprint import fingerprint


@pytest.fixture
def entry(tmp_path: Path) -> Entry:
    (tmp_path / "study" / "series").mkdir(parents=True)
    (tmp_path / "study" / "series" / "1").write_bytes(b"slice")
    (tmp_path / "nodules.csv").write_bytes(b"list")
    return Entry("study", str(tmp_path / "study"), nodules=str(tmp_path / "nodules.csv"))


def test_it_stays_while_nothing_changes(entry: Entry):
    assert fingerprint(entry) == fingerprint(entry)


def edit_slice(study: Path) -> None:
    (study / "series" / "1").write_bytes(b"other slice")


def touch_slice(study: Path) -> None:
    os.utime(study / "series" / "1", ns=(1, 1))


def add_slice(study: Path) -> None:
    (study / "series" / "2").write_bytes(b"")


def edit_list(study: Path) -> None:
    (study.parent / "nodules.csv").write_bytes(b"another list")


@pytest.mark.parametrize("change", [edit_slice, touch_slice, add_slice, edit_list])
def test_it_changes_with_the_files(entry: Entry, change):
    before = fingerprint(entry)
    change(Path(entry.source))
    assert fingerprint(entry) != before


def test_a_study_that_is_gone_has_none(entry: Entry):
    assert fingerprint(entry._replace(source=entry.source + "x")) == ""
