"""How a DICOM file begins: with 128 bytes of preamble and ``DICM``, or, as some exports have it, without them.

Standard library alone, since the run of a cohort looks at files with it.
"""

from __future__ import annotations

import re

__all__ = ["HEAD_BYTES", "PREFIX", "begins_as_dicom", "missing_beginning"]

_PREAMBLE = bytes(128)
PREFIX = b"DICM"
#: This much of a file is enough to decide.
HEAD_BYTES = 132
#: An element of group 2 or 8, which come first: with the letters of its type, or with a length of less than 4096.
_FIRST_ELEMENT = re.compile(
    rb"[\x02\x08]\x00[\x00-\xff]{2}([A-Z]{2}|[\x00-\xff][\x00-\x0f]\x00\x00)|\x00[\x02\x08][\x00-\xff]{2}[A-Z]{2}"
)


def begins_as_dicom(head: bytes) -> bool:
    r"""Whether a file with these first bytes may be DICOM.

    Example:
        >>> [begins_as_dicom(head) for head in (bytes(128) + b"DICM", b"\x08\x00\x05\x00CS\n\x00", b"PK")]
        [True, True, False]
    """
    return head[128:HEAD_BYTES] == PREFIX or missing_beginning(head) is not None


def missing_beginning(head: bytes) -> bytes | None:
    """The bytes to put before a file without preamble; None if it is not DICOM either way."""
    if head.startswith(PREFIX) and _FIRST_ELEMENT.match(head, len(PREFIX)):
        return _PREAMBLE
    return _PREAMBLE + PREFIX if _FIRST_ELEMENT.match(head) else None
