"""Pages of the documentation whose tables are made from files of measurements.

A table stands between ``<!-- table NAME -->`` and ``<!-- end -->``.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import TypeVar

__all__ = ["RESULTS", "print_tables", "table", "with_tables", "write_tables"]

RESULTS = Path(__file__).parent / "results"
_PLACE = re.compile(r"(<!-- table ([a-z-]+) -->)\n.*?\n?(<!-- end -->)", re.DOTALL)
Measured = TypeVar("Measured")


def table(titles: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """A table in Markdown."""
    lines = [titles, ["---"] * len(titles), *rows]
    return "\n".join("| " + " | ".join(str(cell) for cell in line) + " |" for line in lines)


def with_tables(page: str, tables: Mapping[str, Callable[[Measured], str]], measured: Measured) -> str:
    """A page with its tables updated.

    Args:
        page: its text.
        tables: by name, what makes each from the measurements.
        measured: the measurements.
    """
    return _PLACE.sub(lambda place: f"{place[1]}\n{tables[place[2]](measured)}\n{place[3]}", page)


def write_tables(page: Path, tables: Mapping[str, Callable[[Measured], str]], measured: Measured) -> None:
    """Update the tables of a page."""
    page.write_text(with_tables(page.read_text(encoding="utf-8"), tables, measured), encoding="utf-8")


def print_tables(tables: Mapping[str, Callable[[Measured], str]], measured: Measured) -> None:
    """Print all tables."""
    for name, make in tables.items():
        print(f"## {name}\n\n{make(measured)}\n")
