"""PNG files of drawn pictures, made in a tenth of the time that zlib takes."""

from __future__ import annotations

import struct

import numpy as np
from isal import isal_zlib
from numpy.typing import NDArray

__all__ = ["png_bytes"]

_INCH_M = 0.0254
#: Of isal: a tenth larger than zlib's level 3, in a tenth of its time; level 3 is no smaller.
_LEVEL = 2
#: Every row is stored as its difference from the row above: filter type 2 of the PNG specification.
_UP = 2


def png_bytes(pixels: NDArray[np.uint8], dpi: float) -> bytes:
    r"""A picture as a PNG file; the same picture gives the same bytes.

    Args:
        pixels: RGB, (row, column, 3).
        dpi: dots per inch, which the file names.

    Example:
        >>> png_bytes(np.zeros((2, 3, 3), np.uint8), dpi=100)[:4]
        b'\x89PNG'
    """
    height, width, channels = pixels.shape
    rows = pixels.reshape(height, width * channels)
    filtered = np.empty((height, width * channels + 1), np.uint8)
    filtered[:, 0] = _UP
    filtered[0, 1:] = rows[0]
    np.subtract(rows[1:], rows[:-1], out=filtered[1:, 1:])
    per_metre = round(dpi / _INCH_M)
    return b"".join(
        (
            b"\x89PNG\r\n\x1a\n",
            _chunk(b"IHDR", struct.pack(">2I5B", width, height, 8, 2, 0, 0, 0)),
            _chunk(b"pHYs", struct.pack(">2IB", per_metre, per_metre, 1)),
            _chunk(b"IDAT", isal_zlib.compress(filtered, _LEVEL)),
            _chunk(b"IEND", b""),
        )
    )


def _chunk(kind: bytes, content: bytes) -> bytes:
    """Length, kind, content and checksum."""
    return b"".join(
        (struct.pack(">I", len(content)), kind, content, struct.pack(">I", isal_zlib.crc32(kind + content)))
    )
