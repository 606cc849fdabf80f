"""The result of a command for programs: one JSON object on standard output, the same on success and on failure.

Light to import: a command that is stopped while it starts prints it, too. The object follows :data:`SCHEMA_NAME`,
beside this file; ``docs/json.md`` explains it.
"""

from __future__ import annotations

import dataclasses
import json
import math
import re
from collections.abc import Mapping, Sequence
from enum import IntEnum
from pathlib import Path
from typing import Any, NamedTuple, TextIO

from mose_med import __version__
from pipelines.common.processes import rank_and_count

__all__ = ["JSON_FLAG", "SCHEMA_NAME", "Outcome", "advice_in", "plain", "print_document", "result_document"]

#: Switch of every command.
JSON_FLAG = "--json"
#: The JSON Schema of the object.
SCHEMA_NAME = "command_result.schema.json"
#: Changes when a key is renamed or removed; new keys may come at any time.
_FORMAT = 1

#: How advice begins, at the end of a message.
_VERBS = (
    "add ask call check choose convert correct delete draw export free give install keep leave lower make move name "
    "pass prepare put read remove restore run see set start take train unpack use wait write"
)
_ADVICE = re.compile(rf"[:;] ((?:first |either )?(?:did you mean|{'|'.join(_VERBS.split())})\b.*)$")


class Outcome(NamedTuple):
    """Result of a command: plain or nearly plain values, and the exit code."""

    result: Any
    exit_code: int = 0


def result_document(
    command: str, exit_code: int, *, error: str | None = None, result: Any = None, output: Path | str | None = None
) -> str:
    """The object, in one line.

    Args:
        command: its name, ``prepare lidc`` for instance.
        exit_code: of the process.
        error: what the user reads where the command failed.
        result: of the command.
        output: folder or file that it wrote.
    """
    content = {
        "format": _FORMAT,
        "command": command,
        "version": __version__,
        "exit_code": int(exit_code),
        "error": error,
        "advice": None if error is None else advice_in(error),
        "output": None if output is None else str(output),
        "result": plain(result),
    }
    return json.dumps(content, allow_nan=False)


def print_document(document: str, stdout: TextIO) -> None:
    """Print the object of ``--json``; of several processes that torchrun started, the first does."""
    if rank_and_count()[0] == 0:
        stdout.write(document + "\n")
        stdout.flush()


def advice_in(error: str) -> str | None:
    """What to do about an error: the end of its message, if that gives advice.

    Example:
        >>> advice_in("out.zip exists: name another output file or add --overwrite")
        'name another output file or add --overwrite'
        >>> advice_in("seed must be >= 0, got -1") is None
        True
    """
    found = _ADVICE.search(error)
    return found and found[1]


def plain(value: Any) -> Any:
    """A value as JSON can hold it: NaN and infinity are null, paths text, named tuples objects.

    Example:
        >>> plain({"file": Path("a"), "scores": (0.5, float("nan"))})
        {'file': 'a', 'scores': [0.5, None]}
    """
    if hasattr(value, "to_dict"):
        return plain(value.to_dict())
    if hasattr(value, "_asdict"):
        return plain(value._asdict())
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {field.name: plain(getattr(value, field.name)) for field in dataclasses.fields(value)}
    if isinstance(value, Mapping):
        return {str(name): plain(inner) for name, inner in value.items()}
    if isinstance(value, Sequence | set | frozenset) and not isinstance(value, str | bytes):
        return [plain(inner) for inner in value]
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    return _scalar(value)


def _scalar(value: Any) -> Any:
    if isinstance(value, IntEnum):
        return int(value)
    return value if value is None or isinstance(value, bool | int | str) else str(value)
