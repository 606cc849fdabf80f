"""Gzip files whose content is mostly zeros, as maps of a few lesions in a large volume are.

The content is compressed in chunks that stand for themselves, so that a chunk of zeros is compressed once and written
as often as it comes. The file is one gzip member, which every reader takes, browsers included; its header carries no
time and no name, so the same content, in the same pieces, gives the same bytes.
"""

from __future__ import annotations

import struct
from functools import cache
from typing import BinaryIO, NamedTuple

import numpy as np
from isal import isal_zlib
from numpy.typing import NDArray

__all__ = ["GzipWriter"]

_CHUNK = 1 << 18
_LEVEL = 1
_HEADER = b"\x1f\x8b\x08" + bytes(6) + b"\xff"
_LAST_BLOCK = b"\x03\x00"


class _Chunk(NamedTuple):
    """Deflate blocks that end on a byte, and checksum and size of their content."""

    blocks: bytes
    crc: int
    size: int


class GzipWriter:
    r"""Writes one gzip member to a stream.

    Example:
        >>> import gzip, io
        >>> stream = io.BytesIO()
        >>> with GzipWriter(stream) as writer:
        ...     writer.write(np.ones(3, dtype=np.uint8))
        ...     writer.write_zeros(2)
        >>> gzip.decompress(stream.getvalue())
        b'\x01\x01\x01\x00\x00'
    """

    def __init__(self, stream: BinaryIO) -> None:
        self._stream, self._crc, self._size = stream, 0, 0
        stream.write(_HEADER)

    def __enter__(self) -> GzipWriter:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        """Write the end of the member, unless something failed."""
        if kind is None:
            self._stream.write(_LAST_BLOCK + struct.pack("<II", self._crc, self._size % (1 << 32)))

    def write(self, content: NDArray[np.uint8]) -> None:
        """Write bytes, an array of one axis."""
        for first in range(0, len(content), _CHUNK):
            part = content[first : first + _CHUNK]
            self._append(_compressed(part.tobytes()) if part.any() else _zeros(len(part)))

    def write_zeros(self, count: int) -> None:
        """Write so many zeros."""
        for _ in range(count // _CHUNK):
            self._append(_zeros(_CHUNK))
        if count % _CHUNK:
            self._append(_zeros(count % _CHUNK))

    def _append(self, chunk: _Chunk) -> None:
        self._stream.write(chunk.blocks)
        self._crc = isal_zlib.crc32_combine(self._crc, chunk.crc, chunk.size)
        self._size += chunk.size


def _compressed(content: bytes) -> _Chunk:
    deflate = isal_zlib.compressobj(_LEVEL, wbits=-15)
    blocks = deflate.compress(content) + deflate.flush(isal_zlib.Z_SYNC_FLUSH)
    return _Chunk(blocks, isal_zlib.crc32(content), len(content))


@cache
def _zeros(count: int) -> _Chunk:
    return _compressed(bytes(count))
