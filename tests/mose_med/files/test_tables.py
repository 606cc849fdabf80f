from __future__ import annotations

import json
from pathlib import Path

import pytest

from mose_med.errors import ConfigError, DataError
from mose_med.files.tables import read_json, read_rows, read_table

ROWS = [{"case": "a", "x_mm": "1.5"}, {"case": "b", "x_mm": "-2"}]


def table(path: Path, content: str | bytes, encoding: str = "utf-8"):
    path.write_bytes(content if isinstance(content, bytes) else content.encode(encoding))
    return read_table(path, "test table", ConfigError, known=("case", "x_mm"))


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "utf-32"])
@pytest.mark.parametrize("ending", ["\n", "\r\n", "\r"])
@pytest.mark.parametrize("delimiter", [",", ";", "\t", ", ", " ; "])
def test_every_way_of_saving_gives_the_same_rows(tmp_path: Path, encoding: str, ending: str, delimiter: str):
    lines = [delimiter.join(values) for values in (("case", "x_mm"), ("a", "1.5"), ("b", "-2"))]
    assert [row.values for row in table(tmp_path / "t.csv", ending.join(lines), encoding).rows] == ROWS


@pytest.mark.parametrize(
    "text",
    [
        "case,x_mm,,\na,1.5,,\n\nb,-2,,\n,,,\n",
        " Case , X_MM \n a , 1.5 \n b , -2 \n",
        '"case","x_mm"\n"a","1.5"\n"b","-2"',
        "sep=;\ncase;x_mm\na;1.5\nb;-2\n",
        "\n\ncase;x_mm\na;1.5\nb;-2\n",
        "\nsep=;\ncase;x_mm\na;1.5\nb;-2\n",
    ],
)
def test_blanks_and_what_is_empty_do_not_count(tmp_path: Path, text: str):
    assert [row.values for row in table(tmp_path / "t.csv", text).rows] == ROWS


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("case;x_mm\na;14,00\n", 14.0),
        ("case;x_mm\na;-105,250\n", -105.25),
        ("case\tx_mm\na\t14,5\n", 14.5),
        ('case,x_mm\na,"14,5"\n', 14.5),
        ("case,x_mm\na,\N{MINUS SIGN}3.5\n", -3.5),
        ("case,x_mm\na,1e2\n", 100.0),
    ],
)
def test_decimal_commas_are_read_where_they_can_be_nothing_else(tmp_path: Path, text: str, number: float):
    assert table(tmp_path / "t.csv", text).rows[0].number_in("x_mm") == number


@pytest.mark.parametrize(
    "text", ['case,x_mm\na,"1,234"\n', "case;x_mm\na;1,234\nb;2.5\n", "case;x_mm\na;1.234,5\n", "case,x_mm\na,nan\n"]
)
def test_numbers_that_can_be_read_in_two_ways_are_none(tmp_path: Path, text: str):
    assert table(tmp_path / "t.csv", text).rows[0].number_in("x_mm") is None


def test_values_beyond_the_columns_are_named_with_their_line(tmp_path: Path):
    with pytest.raises(
        ConfigError, match=r"test table .*t\.csv, line 3 must have 2 values, one for each column, got 3"
    ):
        table(tmp_path / "t.csv", "case,x_mm\na,1.5\nb,2,5\n")


def test_a_column_that_is_there_twice_is_named(tmp_path: Path):
    with pytest.raises(ConfigError, match="must name each column once, got case twice"):
        table(tmp_path / "t.csv", "case,Case,x_mm\n")


def test_latin_1_is_read_and_said(tmp_path: Path, caplog):
    assert table(tmp_path / "t.csv", "case,x_mm\nMüller,1\n", "latin-1").rows[0].text("case") == "Müller"
    assert "the test table is not in UTF-8: read as Latin-1" in caplog.text


@pytest.mark.parametrize("content", [b"\x89PNG\xff\xfe", b"PK\x03\x04\xff\x00\x00"])
def test_a_file_that_is_no_text_is_named(tmp_path: Path, content: bytes):
    with pytest.raises(ConfigError, match=r"test table .*t\.csv is not a CSV file"):
        table(tmp_path / "t.csv", content)


def test_a_missing_table_is_named(tmp_path: Path):
    with pytest.raises(DataError, match=r"list .*absent\.csv cannot be read: No such file"):
        read_table(tmp_path / "absent.csv", "list", DataError)


@pytest.mark.parametrize("text", ["a,0.5,0.5\nb,1\n", "\ufeffa;0,5;0,5\r\nb;1;\r\n", "a\t0.5\t0.5\nb\t1\n"])
def test_rows_without_names_of_columns(tmp_path: Path, text: str):
    (tmp_path / "t.csv").write_text(text, encoding="utf-8")
    rows = read_rows(tmp_path / "t.csv", "weights", ConfigError)
    assert [[row.text("0"), row.number_in("1"), row.number_in("2")] for row in rows] == [
        ["a", 0.5, 0.5],
        ["b", 1, None],
    ]


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
def test_json_is_read_with_any_mark(tmp_path: Path, encoding: str):
    (tmp_path / "t.json").write_text(json.dumps({"a": "ä"}, ensure_ascii=False), encoding=encoding)
    assert read_json(tmp_path / "t.json", "list", DataError) == {"a": "ä"}


def test_what_is_not_json_is_named(tmp_path: Path):
    (tmp_path / "t.json").write_text("{")
    with pytest.raises(DataError, match=r"list .*t\.json is not a JSON file: Expecting property name"):
        read_json(tmp_path / "t.json", "list", DataError)
