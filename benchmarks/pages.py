"""Pages of the documentation whose tables are made from files of measurements.

A table stands between ``<!-- table NAME -->`` and ``<!-- end -->``.
"""

from __future__ import annotations

import argparse
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import TypeVar

__all__ = ["RESULTS", "print_or_write", "table", "with_tables"]

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


def print_or_write(
    what: str, tables: Mapping[str, Callable[[Measured], str]], read: Callable[[Path], Measured]
) -> None:
    """The command of a page: prints all tables, or puts them into the page.

    Args:
        what: it does, for its help.
        tables: by name, what makes each from the measurements.
        read: the measurements in a folder.
    """
    parser = argparse.ArgumentParser(description=what)
    parser.add_argument("--results", type=Path, default=RESULTS, help="folder of the files of measurements")
    parser.add_argument("--write-docs", type=Path, help="page whose tables are replaced")
    options = parser.parse_args()
    measured = read(options.results)
    if options.write_docs is None:
        for name, make in tables.items():
            print(f"## {name}\n\n{make(measured)}\n")
        return
    page: Path = options.write_docs
    page.write_text(with_tables(page.read_text(encoding="utf-8"), tables, measured), encoding="utf-8")
