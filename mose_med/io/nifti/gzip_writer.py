"""Gzip files whose content is mostly zeros, as maps of a few lesions in a large volume are.

The content is compressed in chunks that stand for themselves, so that a chunk of zeros is compressed once and written
as often as it comes. The file is one gzip member, which every reader takes, browsers included; its header carries no
time and no name, so the same content, in the same pieces, gives the same bytes.

How to compress depends on the values. Masks are runs of equal bytes: looking for nothing but runs makes their files
0.6 times as large as a quick search for repeated strings does, and takes little time. Whole numbers of steps repay a
thorough search that ignores short matches, of which noise has many. Floating-point numbers hardly compress, so they
get the quickest search.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Callable
from functools import cache, partial
from typing import Any, BinaryIO, NamedTuple

import numpy as np
from isal import isal_zlib
from numpy.typing import DTypeLike, NDArray

__all__ = ["GzipWriter"]

_CHUNK = 1 << 20
_RAW = -zlib.MAX_WBITS
_HEADER = b"\x1f\x8b\x08" + bytes(6) + b"\xff"
_LAST_BLOCK = b"\x03\x00"


#: How to compress, by the kind of the values (``numpy.dtype.kind``); whatever else is taken as masks are.
_DEFLATE: dict[str, Callable[[], Any]] = {
    "i": partial(zlib.compressobj, 6, wbits=_RAW, strategy=zlib.Z_FILTERED),
    "f": partial(isal_zlib.compressobj, 1, wbits=_RAW),
}
_RUNS = partial(zlib.compressobj, 6, wbits=_RAW, strategy=zlib.Z_RLE)


class _Chunk(NamedTuple):
    """Deflate blocks that end on a byte, and checksum and size of their content."""

    blocks: bytes
    crc: int
    size: int


class GzipWriter:
    r"""Writes one gzip member to a stream.

    Args:
        stream: to write to.
        dtype: of the values whose bytes are written; it decides how they are compressed.

    Example:
        >>> import gzip, io
        >>> stream = io.BytesIO()
        >>> with GzipWriter(stream) as writer:
        ...     writer.write(np.ones(3, dtype=np.uint8))
        ...     writer.write_zeros(2)
        >>> gzip.decompress(stream.getvalue())
        b'\x01\x01\x01\x00\x00'
    """

    def __init__(self, stream: BinaryIO, dtype: DTypeLike = np.uint8) -> None:
        self._stream, self._crc, self._size = stream, 0, 0
        self._deflate = _DEFLATE.get(np.dtype(dtype).kind, _RUNS)
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
            self._append(_compressed(part, self._deflate()) if part.any() else _zeros(len(part)))

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


def _compressed(content: NDArray[np.uint8], deflate: Any) -> _Chunk:
    blocks = deflate.compress(content.data) + deflate.flush(zlib.Z_SYNC_FLUSH)
    return _Chunk(blocks, isal_zlib.crc32(content), len(content))


@cache
def _zeros(count: int) -> _Chunk:
    return _compressed(np.zeros(count, dtype=np.uint8), _RUNS())
