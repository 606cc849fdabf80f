from __future__ import annotations

import csv
import hashlib
import hmac
import os
from pathlib import Path

import pytest

from mose_med.errors import DataError
from mose_med.io import Source
from pipelines.common.case_names import add_to_case_map, case_key, case_name, record_case, unreadable_case_name


def mode(path: Path) -> int:
    return path.stat().st_mode & 0o777


def test_the_key_is_made_once_and_is_private(tmp_path: Path):
    key = case_key(tmp_path)
    assert case_key(tmp_path) == key
    assert len(key) == 32
    assert mode(tmp_path / "private") == 0o700
    assert mode(tmp_path / "private" / "case.key") == 0o600


def test_names_depend_on_key_and_identity_alone():
    pairs = [(key, identity) for key in (bytes(32), b"1" * 32) for identity in ("1.2.3", "1.2.4")]
    digests = [hmac.new(key, identity.encode(), hashlib.sha256).hexdigest() for key, identity in pairs]
    assert [case_name(key, identity) for key, identity in pairs] == [f"case-{digest[:12]}" for digest in digests]
    assert len(set(digests)) == 4


@pytest.mark.parametrize("content", ["no key", "ab12"])
def test_a_damaged_key_is_refused(tmp_path: Path, content: str):
    case_key(tmp_path)
    (tmp_path / "private" / "case.key").write_text(content)
    with pytest.raises(DataError, match=r"case.key must hold .*: restore it, or name another output folder"):
        case_key(tmp_path)


def test_the_map_is_sorted_and_keeps_one_row_a_case(tmp_path: Path):
    for case, series in (("case-b", "1"), ("case-a", "2"), ("case-b", "3")):
        record_case(tmp_path, case, str(tmp_path / "study"), Source("dicom", "patient", "9", series))
    file = tmp_path / "private" / "case_map.csv"
    with file.open(newline="") as stream:
        rows = list(csv.DictReader(stream))
    assert [(row["case"], row["series_uid"]) for row in rows] == [("case-a", "2"), ("case-b", "3")]
    assert rows[0]["source"] == str(tmp_path / "study")
    assert mode(file) == 0o600


def test_the_map_keeps_what_other_runs_entered(tmp_path: Path):
    record_case(tmp_path, "case-a", tmp_path / "one", Source("dicom", "patient", "9", "1"))
    unread = ("unread-b", str(tmp_path / "two"), "", "", "")
    add_to_case_map(tmp_path, [unread])
    add_to_case_map(tmp_path, [("case-b", *unread[1:])])
    with (tmp_path / "private" / "case_map.csv").open(newline="") as stream:
        assert [row["case"] for row in csv.DictReader(stream)] == ["case-a", "case-b"]


@pytest.mark.parametrize(
    ("delimiter", "encoding"), [(";", "utf-8-sig"), (",", "utf-8-sig"), (";", "latin-1"), ("\t", "utf-16")]
)
def test_a_map_that_a_spreadsheet_saved_is_gone_on_with(tmp_path: Path, delimiter: str, encoding: str):
    record_case(tmp_path, "case-a", "/data/Müller", Source("dicom", "patient", "9", "1"))
    file = tmp_path / "private" / "case_map.csv"
    before = file.read_text(encoding="utf-8")
    file.write_bytes(before.replace(",", delimiter).replace("\n", "\r\n").encode(encoding))
    record_case(tmp_path, "case-b", "/data/b", Source("dicom", "patient", "9", "2"))
    assert file.read_text(encoding="utf-8") == before + "case-b,/data/b,patient,9,2\n"


@pytest.mark.parametrize(
    ("content", "fault"),
    [
        (b"a,b\n1,2\n", "must have the column case, got a, b"),
        (b"case,source,patient_id,study_uid\nx,y\n", "must have the column series_uid, got case, source"),
        (b"PK\x03\x04\xff\x00\x01", "is not a CSV file"),
        (b"case,case\n", "must name each column once"),
    ],
)
def test_a_map_that_cannot_be_read_is_named_with_the_way_out(tmp_path: Path, content: bytes, fault: str):
    case_key(tmp_path)
    file = tmp_path / "private" / "case_map.csv"
    file.write_bytes(content)
    with pytest.raises(DataError) as caught:
        record_case(tmp_path, "case-a", "/data/a", Source("dicom", "patient", "9", "1"))
    told = str(caught.value)
    assert told.startswith(f"case map {file} {fault}")
    assert told.endswith(": restore it, or move it away and run again")
    assert "\n" not in told
    assert file.read_bytes() == content


def test_an_empty_map_is_begun_again(tmp_path: Path):
    case_key(tmp_path)
    (tmp_path / "private" / "case_map.csv").write_bytes(b"")
    record_case(tmp_path, "case-a", "/data/a", Source("dicom", "patient", "9", "1"))
    assert "case-a" in (tmp_path / "private" / "case_map.csv").read_text()


def test_the_map_takes_a_folder_name_that_is_not_utf8(tmp_path: Path):
    folder = os.fsdecode(b"M\xfcller")
    for case in ("case-a", "case-b"):
        record_case(tmp_path, case, folder, Source("dicom", "patient", "9", "1"))
    assert (tmp_path / "private" / "case_map.csv").read_bytes().count(b",M\xfcller,") == 2
    assert unreadable_case_name(bytes(32), folder).startswith("unread-")
