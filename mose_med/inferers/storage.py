"""Storage of the arrays of a case: in memory while they are small, else in a temporary file.

A whole chest needs some 20 bytes a voxel. Beyond :data:`IN_MEMORY_BYTES` the arrays are pages of a file without a name,
which is removed with the last array. Pages that were used are handed back with :meth:`Storage.release`, so that memory
holds no more than the part at hand.
"""

from __future__ import annotations

import mmap
import os
import tempfile
from pathlib import Path
from typing import TypeVar

import numpy as np
from numpy.typing import DTypeLike, NDArray

from mose_med.errors import DataError

__all__ = ["IN_MEMORY_BYTES", "Storage"]

#: Cases that need more than this are kept in a file.
IN_MEMORY_BYTES = 512 << 20
Scalar = TypeVar("Scalar", bound=np.generic)
_PAGE = mmap.ALLOCATIONGRANULARITY


class Storage:
    """Room for arrays of zeros.

    Args:
        size: bytes that all arrays need together, each rounded up by :meth:`room`.
        directory: of the temporary file, if one is needed; the system's own if None.
        in_memory: bytes up to which no file is used.

    Raises:
        DataError: if the file cannot be made.

    Example:
        >>> storage = Storage(Storage.room((2, 3), np.uint8))
        >>> storage.zeros((2, 3), np.uint8).sum()
        np.uint64(0)
    """

    def __init__(self, size: int, directory: Path | None = None, in_memory: int = IN_MEMORY_BYTES) -> None:
        self._used = 0
        self.in_file = size > in_memory
        if not self.in_file:
            self._pages = mmap.mmap(-1, max(size, 1))
            return
        try:
            with tempfile.TemporaryFile(dir=directory) as file:
                os.posix_fallocate(file.fileno(), 0, size)
                self._pages = mmap.mmap(file.fileno(), size)
        except OSError as error:
            place = directory or tempfile.gettempdir()
            reason = error.strerror or type(error).__name__
            raise DataError(
                f"{place} must take {size / 1e9:.1f} GB during the run, got {reason!r}: name another folder in TMPDIR"
            ) from error

    @staticmethod
    def room(shape: tuple[int, ...], dtype: DTypeLike) -> int:
        """Bytes that an array takes here."""
        size = int(np.prod(shape, dtype=np.int64)) * np.dtype(dtype).itemsize
        return -(-size // _PAGE) * _PAGE

    def zeros(self, shape: tuple[int, ...], dtype: type[Scalar]) -> NDArray[Scalar]:
        """A new array whose first axis runs fastest."""
        count = int(np.prod(shape, dtype=np.int64))
        if not count:
            return np.zeros(shape, dtype=dtype, order="F")
        flat = np.frombuffer(self._pages, dtype=dtype, count=count, offset=self._used)
        self._used += self.room(shape, dtype)
        return flat.reshape(shape, order="F")

    def release(self) -> None:
        """Release the pages of a file from memory; they are read again when they are used."""
        if self.in_file:
            self._pages.madvise(mmap.MADV_DONTNEED)
