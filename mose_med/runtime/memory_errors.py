"""Errors of any allocator that say that no memory is left."""

from __future__ import annotations

import errno
import re

__all__ = ["causes_of", "ran_out_of_memory"]

#: How allocators of the GPU, of the CPU and of C++ say it; theirs are plain errors of run time.
_OUT_OF_MEMORY = re.compile(
    r"out of memory|(can't|cannot|could not|failed to|unable to) allocate|not enough memory|bad_alloc|_ALLOC_FAILED",
    re.IGNORECASE,
)


def ran_out_of_memory(error: BaseException) -> bool:
    """Whether an error, or one that it came from, says that no memory is left.

    Example:
        >>> ran_out_of_memory(MemoryError())
        True
        >>> ran_out_of_memory(ValueError("out of range"))
        False
    """
    return any(
        isinstance(cause, MemoryError)
        or (isinstance(cause, OSError) and cause.errno == errno.ENOMEM)
        or (isinstance(cause, RuntimeError) and _OUT_OF_MEMORY.search(str(cause)) is not None)
        for cause in causes_of(error)
    )


def causes_of(error: BaseException) -> list[BaseException]:
    """An error and those that it was raised from, the first one last."""
    causes = [error]
    while causes[-1].__cause__ is not None:
        causes.append(causes[-1].__cause__)
    return causes
