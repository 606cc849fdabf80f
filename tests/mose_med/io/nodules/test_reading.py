from __future__ import annotations

from pathlib import Path

import pytest

from mose_med.errors import DataError
from mose_med.io import read_nodules


def written(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "nodules.csv"
    path.write_text(text, encoding="utf-8")
    return path


def test_ras_columns_are_taken_as_they_are(tmp_path: Path):
    nodules = read_nodules(written(tmp_path, "nodule_id,x_ras_mm,y_ras_mm,z_ras_mm\nleft,1,-2.5,3\n,4,5,6\n"))
    assert nodules == [("left", (1, -2.5, 3)), ("2", (4, 5, 6))]


def test_lps_columns_are_turned_to_ras(tmp_path: Path):
    assert read_nodules(written(tmp_path, "\ufeffz_lps_mm, y_lps_mm, X_LPS_mm\n3, 2, 1\n")) == [("1", (-1, -2, 3))]


@pytest.mark.parametrize(
    "text",
    [
        "x_ras_mm;y_ras_mm;z_ras_mm\n1,5;-2,25;3\n",
        "\ufeffx_ras_mm, y_ras_mm, z_ras_mm,,\r\n1.5, -2.25, 3,,\r\n,,,,\r\n",
        "X_RAS_MM\tY_RAS_MM\tZ_RAS_MM\n1.5\t-2.25\t3\n",
    ],
)
def test_lists_of_any_program_are_read(tmp_path: Path, text: str):
    assert read_nodules(written(tmp_path, text)) == [("1", (1.5, -2.25, 3))]


def test_decimal_commas_between_commas_are_named_with_their_line(tmp_path: Path):
    with pytest.raises(DataError, match=r"nodules\.csv, line 2 must have 3 values, one for each column, got 6"):
        read_nodules(written(tmp_path, "x_ras_mm,y_ras_mm,z_ras_mm\n1,5,2,5,3,5\n"))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "must have the columns x_ras_mm,y_ras_mm,z_ras_mm or x_lps_mm,y_lps_mm,z_lps_mm, got none"),
        ("x,y,z\n1,2,3\n", "must have the columns .*, got x,y,z"),
        ("x_ras_mm,y_ras_mm,z_lps_mm\n1,2,3\n", "must have the columns"),
        ("x_ras_mm,y_ras_mm,z_ras_mm\n", "has no rows: give at least one position"),
        ("x_ras_mm,y_ras_mm,z_ras_mm\n1,2,3\n1,b,3\n", "row 2: y_ras_mm must be a number, got 'b'"),
        ("x_ras_mm,y_ras_mm,z_ras_mm\n1,2\n", "row 1: z_ras_mm must be a number, got None"),
        ("x_ras_mm,y_ras_mm,z_ras_mm\n1,2,inf\n", "row 1: z_ras_mm must be a number, got 'inf'"),
        ("nodule_id,x_ras_mm,y_ras_mm,z_ras_mm\na,1,2,3\na,4,5,6\n", "must name each nodule once, got 'a' twice"),
    ],
)
def test_bad_lists_are_refused_by_name(tmp_path: Path, text: str, message: str):
    with pytest.raises(DataError, match=message):
        read_nodules(written(tmp_path, text))


def test_a_missing_list_is_refused(tmp_path: Path):
    with pytest.raises(DataError, match=r"nodule list .*absent.csv does not exist"):
        read_nodules(tmp_path / "absent.csv")


def test_a_file_that_is_no_text_is_refused(tmp_path: Path):
    (tmp_path / "image.csv").write_bytes(b"\x89PNG\xff\xfe")
    with pytest.raises(DataError, match="is not a CSV file"):
        read_nodules(tmp_path / "image.csv")
