"""Tables and JSON that people write: one reader for each, for files of any program.

Text is UTF-8 with or without a byte order mark, UTF-16 or UTF-32; anything else is read as Latin-1 where it
can be. Lines end in any way; blanks around values, empty lines and empty columns at the end do not count. Columns are
separated by commas, semicolons or tabs. Numbers have a decimal point, or a decimal comma where it can be nothing else.
"""

from __future__ import annotations

import codecs
import csv
import io
import json
import logging
import math
import re
from collections.abc import Collection
from pathlib import Path
from typing import Any, NamedTuple

from mose_med.errors import MoseError

__all__ = ["Row", "Table", "read_json", "read_rows", "read_table"]

_LOGGER = logging.getLogger(__name__)

_MARKS = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
_DELIMITERS = (",", ";", "\t")
#: Excel's own line about the delimiter, before the columns.
_DELIMITER_LINE = re.compile(r"sep=(.)\s*", re.IGNORECASE)
_CONTROL = re.compile("[\x00-\x08\x0e-\x1f\x7f-\x9f]")
_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)(e[+-]?\d+)?", re.IGNORECASE | re.ASCII)
_DECIMAL_POINT = re.compile(r"[+-]?\d*\.\d+", re.ASCII)
_THOUSANDS = re.compile(r"[+-]?\d{1,3}(,\d{3})+", re.ASCII)


class Row(NamedTuple):
    """One row of a table.

    Attributes:
        line: of the file, from 1.
        number: of the row, from 1; the names of columns do not count.
        values: by column; a row that ends early lacks the columns at the end.
        decimal_comma: whether a comma in a number of this table can only be a decimal one.
    """

    line: int
    number: int
    values: dict[str, str]
    decimal_comma: bool = False

    def text(self, column: str) -> str:
        """The value of a column, empty where there is none."""
        return self.values.get(column, "")

    def number_in(self, column: str) -> float | None:
        """The finite number in a column; None where there is none, or where it can be read in two ways."""
        text = self.text(column).replace("\N{MINUS SIGN}", "-")
        if text.count(",") == 1 and "." not in text and (self.decimal_comma or not _THOUSANDS.fullmatch(text)):
            text = text.replace(",", ".")
        return float(text) if _NUMBER.fullmatch(text) and math.isfinite(float(text)) else None


class Table(NamedTuple):
    """Columns in lower case, and the rows that have a value."""

    columns: tuple[str, ...]
    rows: list[Row]


class _Line(NamedTuple):
    number: int
    values: list[str]


class _Source(NamedTuple):
    """The source of a table; makes its error messages."""

    path: Path
    what: str
    error: type[MoseError]

    def fault(self, reason: object, line: int | None = None) -> MoseError:
        where = "" if line is None else f", line {line}"
        return self.error(f"{self.what} {self.path}{where} {reason}")


def read_table(path: Path, what: str, error: type[MoseError], known: Collection[str] = ()) -> Table:
    """Read a table whose first line names its columns.

    Args:
        path: of the table.
        what: it is, for messages: ``split file``.
        error: raised if the file is invalid.
        known: columns by which the delimiter is recognised.

    Raises:
        MoseError: ``error``, if the file is missing or no table, a column is named twice, or a row has more values than
            there are columns.
    """
    source = _Source(path, what, error)
    lines, delimiter = _lines(source, known)
    columns = tuple(name.lower() for name in lines[0].values) if lines else ()
    twice = next((name for name in columns if name and columns.count(name) > 1), None)
    if twice is not None:
        raise source.fault(f"must name each column once, got {twice} twice")
    for line in lines[1:]:
        if len(line.values) > len(columns):
            raise source.fault(f"must have {len(columns)} values, one for each column, got {len(line.values)}", line[0])
    return Table(columns, _rows(lines[1:], columns, delimiter))


def read_rows(path: Path, what: str, error: type[MoseError]) -> list[Row]:
    """Read a table that does not name its columns; they are named ``0``, ``1`` and so on.

    Raises:
        MoseError: ``error``, if the file is missing or no table.
    """
    lines, delimiter = _lines(_Source(path, what, error), ())
    columns = map(str, range(max((len(line.values) for line in lines), default=0)))
    return _rows(lines, tuple(columns), delimiter)


def read_json(path: Path, what: str, error: type[MoseError]) -> Any:
    """Read JSON.

    Args:
        path: of the file.
        what: it is, for messages.
        error: raised if the file is invalid.

    Raises:
        MoseError: ``error``, if the file is missing or not JSON, or an object has a name twice.
    """
    source = _Source(path, what, error)

    def named_once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        found = dict(pairs)
        if len(found) < len(pairs):
            names = [name for name, _ in pairs]
            twice = next(name for name in names if names.count(name) > 1)
            raise source.fault(f"must name {twice!r} once, got it twice: leave one")
        return found

    try:
        return json.loads(_text(source, "JSON"), object_pairs_hook=named_once)
    except json.JSONDecodeError as reason:
        raise source.fault(f"is not a JSON file: {reason}") from reason


def _text(source: _Source, form: str) -> str:
    """Text of a file, in the encoding that it declares or shows."""
    try:
        content = source.path.read_bytes()
    except OSError as reason:
        raise source.fault(f"cannot be read: {reason.strerror}") from reason
    try:
        return content.decode(_encoding(content))
    except UnicodeDecodeError as reason:
        text = content.decode("latin-1")
        if _CONTROL.search(text):
            raise source.fault(f"is not a {form} file: {reason}") from reason
    _LOGGER.warning("the %s is not in UTF-8: read as Latin-1", source.what)
    return text


def _encoding(content: bytes) -> str:
    """Encoding by the byte order mark, or by the position of zeros: most characters of a table in UTF-16 have one."""
    for mark, encoding in _MARKS:
        if content.startswith(mark):
            return encoding
    even, odd = content[:200:2].count(0), content[1:200:2].count(0)
    if max(even, odd) > len(content[:200]) // 4:
        return "utf-16-be" if even > odd else "utf-16-le"
    return "utf-8"


def _lines(source: _Source, known: Collection[str]) -> tuple[list[_Line], str]:
    """Lines that have a value, without the empty values at their ends; and the delimiter."""
    text = _text(source, "CSV")
    head = re.split("[\r\n]", text.lstrip("\r\n"), maxsplit=1)[0]
    declared = _DELIMITER_LINE.fullmatch(head)
    delimiter = declared[1] if declared else max(_DELIMITERS, key=lambda mark: _likelihood(head, mark, known))
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, skipinitialspace=True)
    lines: list[_Line] = []
    try:
        for row in reader:
            values = [value.strip() for value in row]
            while values and not values[-1]:
                values.pop()
            if values and not (declared and not lines and values == ["sep="]):
                lines.append(_Line(reader.line_num, values))
    except csv.Error as reason:
        raise source.fault(f"is not valid CSV: {reason}", reader.line_num) from reason
    return lines, delimiter


def _likelihood(head: str, delimiter: str, known: Collection[str]) -> tuple[int, bool]:
    """Score of a delimiter by the first line: known columns, and whether it occurs; a comma may be of a number."""
    names = {name.strip().strip('"').strip().lower() for name in head.split(delimiter)}
    return len(names & set(known)), delimiter in head and delimiter != ","


def _rows(lines: list[_Line], columns: tuple[str, ...], delimiter: str) -> list[Row]:
    points = any(_DECIMAL_POINT.fullmatch(value) for line in lines for value in line.values)
    decimal_comma = delimiter == ";" and not points
    return [
        Row(line.number, number, dict(zip(columns, line.values, strict=False)), decimal_comma)
        for number, line in enumerate(lines, start=1)
    ]
