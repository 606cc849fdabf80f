from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from pipelines.infer.cohort.finding.entries import Entry
from pipelines.infer.cohort.finding.fingerprint import fingerprint


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


HEADERS = {
    "scan.mhd": "NDims = 3\nElementDataFile = {}\n",
    "scan.nhdr": "NRRD0004\ndimension: 3\ndata file: {}\n\n",
    "list.mhd": "NDims = 3\r\nElementDataFile = LIST\r\n{}\r\n",
    "numbered.mhd": "NDims = 3\nElementDataFile = val%s.raw 1 1 1\n",
    "pair.hdr": "",
}


@pytest.mark.parametrize("header", HEADERS)
@pytest.mark.parametrize("role", ["source", "lung_mask"])
def test_values_beside_a_header_count(tmp_path: Path, header: str, role: str):
    values = {"numbered.mhd": "val1.raw", "pair.hdr": "pair.img"}.get(header, "values of it.zraw")
    (tmp_path / header).write_text(HEADERS[header].replace("%s", "%d").format(values), newline="")
    (tmp_path / values).write_bytes(b"0000")
    (tmp_path / "ct.nii").touch()
    entry = Entry("ct", str(tmp_path / "ct.nii"))._replace(**{role: str(tmp_path / header)})
    before = fingerprint(entry)
    os.utime(tmp_path / values, ns=(1, 1))
    assert fingerprint(entry) not in ("", before)


def test_values_that_are_gone_are_a_study_that_is_gone(tmp_path: Path, write_volume: Callable[..., Path]):
    scan = write_volume(tmp_path / "scan.mhd", np.zeros((3, 3, 3), dtype=np.int16))
    assert fingerprint(Entry("scan", str(scan)))
    (tmp_path / "scan.raw").unlink()
    assert fingerprint(Entry("scan", str(scan))) == ""


def test_files_behind_links_count_and_circles_end(entry: Entry, tmp_path: Path):
    (tmp_path / "store").mkdir()
    (tmp_path / "store" / "1").write_bytes(b"slice")
    for name, target in {"linked": tmp_path / "store", "back": Path(entry.source)}.items():
        (Path(entry.source) / name).symlink_to(target)
    before = fingerprint(entry)
    os.utime(tmp_path / "store" / "1", ns=(1, 1))
    assert fingerprint(entry) != before
