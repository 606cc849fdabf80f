"""Zip archives that cannot be unpacked: damaged, encrypted, or of an unknown compression. Light to import."""

from __future__ import annotations

import lzma
import struct
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager

from mose_med.errors import DataError

__all__ = ["named_zip_errors"]

#: Errors of opening and reading an archive; RuntimeError for an encrypted member or an unknown method.
_UNREADABLE = (
    zipfile.BadZipFile,
    RuntimeError,
    ValueError,
    EOFError,
    OSError,
    struct.error,
    zlib.error,
    lzma.LZMAError,
)


@contextmanager
def named_zip_errors(fault: str) -> Iterator[None]:
    """Turn the errors of a zip archive into one line; the block only reads from it.

    Args:
        fault: which archive, or member of one, cannot be read: the beginning of the message.

    Raises:
        DataError: that says why.
    """
    try:
        yield
    except _UNREADABLE as error:
        reason = " ".join((getattr(error, "strerror", None) or str(error) or type(error).__name__).split())
        remedy = ": unpack it with its password first" if "password" in reason else ""
        raise DataError(f"{fault}: {reason}{remedy}") from error
