"""Paths as they are typed: ``~`` is the home of the user, ``file://`` is left out, and any other URL is no path."""

from __future__ import annotations

import re
from pathlib import Path

from mose_med.errors import ConfigError

__all__ = ["expanded", "local_path"]

#: A path has one slash where its URL has two.
_FILE_URL = re.compile(r"file:/+", re.IGNORECASE)
_URL = re.compile(r"[a-z][a-z0-9+.-]+:/", re.IGNORECASE)


def expanded(typed: str | Path) -> str:
    """The path that is meant, or a URL as it is.

    Example:
        >>> expanded("file:///data/x"), expanded("s3://bucket/x")
        ('/data/x', 's3://bucket/x')
    """
    text = str(typed)
    file = _FILE_URL.match(text)
    if file is not None:
        return f"/{text[file.end() :]}"
    return str(Path(text).expanduser()) if text == "~" or text.startswith("~/") else text


def local_path(typed: str | Path, name: str, way_out: str = "name a local one") -> Path:
    """The path that is meant.

    Args:
        typed: as text, or as the path that was made of it.
        name: of the option, for messages.
        way_out: what to do instead, for messages.

    Raises:
        ConfigError: if it is a URL.
    """
    path = expanded(typed)
    if _URL.match(path):
        url = path if "://" in path else path.replace(":/", "://", 1)
        raise ConfigError(f"{name} must be a path of this machine, got the URL {url}: {way_out}")
    return Path(path)
