"""CSV files of this project's own: written in one form, and read again as it was written.

They are UTF-8. A file name of other bytes keeps them, which Python holds as surrogates.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from mose_med.files.whole_files import written_whole

__all__ = ["csv_text", "read_csv", "write_csv"]


def csv_text(columns: Sequence[str], rows: Iterable[Iterable[Any]]) -> str:
    r"""Rows under their column names, with commas and newlines.

    Example:
        >>> csv_text(["case", "ml"], [["a", 1.5]])
        'case,ml\na,1.5\n'
    """
    text = io.StringIO(newline="")
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(columns)
    writer.writerows(rows)
    return text.getvalue()


def write_csv(path: Path, columns: Sequence[str], rows: Iterable[Iterable[Any]]) -> None:
    """Write rows under their column names, atomically."""
    with written_whole(path) as temporary:
        temporary.write_text(csv_text(columns, rows), encoding="utf-8", errors="surrogateescape", newline="")


def read_csv(path: Path) -> list[dict[str, str]]:
    """Rows of a file of :func:`write_csv`, by column; none if there is no such file.

    Tables that people write go through :mod:`mose_med.files.tables`.
    """
    if not path.is_file():
        return []
    with path.open(encoding="utf-8", errors="surrogateescape", newline="") as stream:
        return list(csv.DictReader(stream))
