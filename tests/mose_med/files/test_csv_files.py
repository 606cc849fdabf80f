from __future__ import annotations

import os
from pathlib import Path

from mose_med.files.csv_files import read_csv, write_csv


def test_a_table_is_read_as_it_was_written(tmp_path: Path):
    write_csv(tmp_path / "t.csv", ["case", "note"], [["a", 'says "no", twice'], ["b\u00e9", "two\nlines"]])
    assert (tmp_path / "t.csv").read_bytes().startswith(b"case,note\na,")
    assert read_csv(tmp_path / "t.csv") == [
        {"case": "a", "note": 'says "no", twice'},
        {"case": "b\u00e9", "note": "two\nlines"},
    ]
    assert [path.name for path in tmp_path.iterdir()] == ["t.csv"]


def test_a_missing_table_has_no_rows(tmp_path: Path):
    assert read_csv(tmp_path / "t.csv") == []


def test_a_file_name_that_is_not_utf8_keeps_its_bytes(tmp_path: Path):
    name = os.fsdecode(b"M\xfcller")
    write_csv(tmp_path / "t.csv", ["file"], [[name]])
    assert (tmp_path / "t.csv").read_bytes() == b"file\nM\xfcller\n"
    assert read_csv(tmp_path / "t.csv") == [{"file": name}]
