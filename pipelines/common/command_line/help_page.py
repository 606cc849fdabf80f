"""The help page of a command: every option's name whole, however narrow the terminal."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any

__all__ = ["write_examples", "write_options"]

#: Widest column of names, types included; what is longer has a line of its own.
_NAMES_WIDTH = 28
#: What is typed, as the page says it; choices stand as they are.
_TYPES = {
    "int": "INTEGER",
    "int range": "INTEGER",
    "float": "FLOAT",
    "float,float": "FLOAT FLOAT",
    "str": "TEXT",
    "path": "PATH",
    "list[int]": "INTEGER ..",
    "list[str]": "TEXT ..",
    "list[Path]": "PATH ..",
}
_TYPE = re.compile(r"<([^<>]*)>(?:\.\.\.)?")
_TITLES = {"argument": "Arguments", "option": "Options"}


def write_options(parameters: Iterable[Any], context: Any, formatter: Any) -> None:
    """Write arguments and options by panel: arguments first, options without a panel next.

    Args:
        parameters: of the command.
        context: of the command.
        formatter: that the page is written to.
    """
    panels: dict[str, list[tuple[str, str]]] = {title: [] for title in _TITLES.values()}
    for parameter in parameters:
        row = parameter.get_help_record(context)
        if row is not None:
            title = getattr(parameter, "rich_help_panel", None) or _TITLES[parameter.param_type_name]
            name, text = row
            panels.setdefault(title, []).append((_TYPE.sub(lambda found: _TYPES.get(found[1], found[1]), name), text))
    for title, rows in panels.items():
        if rows:
            with formatter.section(title):
                formatter.write_dl(rows, col_max=_NAMES_WIDTH)


def write_examples(examples: Iterable[str], formatter: Any) -> None:
    """Write command lines, each in one line, to be copied."""
    with formatter.section("Examples"):
        for example in examples:
            formatter.write(f"{'':{formatter.current_indent}}{example}\n")
