"""Files that belong to an image: the values of one whose header is a file of its own. Light: nothing is decoded."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path

__all__ = ["files_of_image"]

_HEADER_BYTES = 1 << 16
#: The line of a detached header that says where the values are, and the word for "in the lines below".
_VALUES = {
    ".mhd": re.compile(r"^ElementDataFile[ \t]*=[ \t]*(.*?)[ \t]*$", re.MULTILINE),
    ".nhdr": re.compile(r"^data ?file:[ \t]*(.*?)[ \t]*$", re.MULTILINE | re.IGNORECASE),
}
#: Analyze and NIfTI pairs: a header, and values of the same name.
_PAIRS = {".hdr": (".img", ".img.gz"), ".img": (".hdr",)}
_NUMBER = re.compile(r"%[-0-9.]*[diu]")


def files_of_image(path: str) -> list[str]:
    """The file itself, and the files beside it that hold its values; a header is read, values are not.

    Raises:
        OSError: if the header cannot be read.
    """
    stem, suffix = os.path.splitext(path)
    suffix = suffix.lower()
    if suffix in _PAIRS:
        return [path, *(stem + other for other in _PAIRS[suffix] if os.path.exists(stem + other))]
    if suffix not in _VALUES:
        return [path]
    with open(path, "rb") as stream:
        header = stream.read(_HEADER_BYTES).decode("utf-8", "replace")
    match = _VALUES[suffix].search(header.replace("\r\n", "\n"))
    folder = os.path.dirname(path)
    names = [] if match is None else _names(folder, match[1], header[match.end() :].split("\n")[1:])
    return [path, *(os.path.join(folder, name) for name in names)]


def _names(folder: str, value: str, below: list[str]) -> Iterator[str]:
    """Names of the files of values, as the header and the lines below it say."""
    word = value.split(" ")[0]
    if word == "LIST":
        yield from (line.strip() for line in below if line.strip())
    elif _NUMBER.search(value):
        yield from sorted(path.name for path in Path(folder or ".").glob(_NUMBER.sub("*", word)))
    elif value.upper() != "LOCAL" and value:
        yield value
