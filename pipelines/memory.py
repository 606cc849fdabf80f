"""Memory that runs out, told in one line with the way out."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch

from mose_med.errors import MoseError

__all__ = ["causes_of", "named_memory_errors", "ran_out_of_memory"]


@contextmanager
def named_memory_errors(place: str, way_out: str) -> Iterator[None]:
    """Name where memory has run out, and what to do about it; other errors pass.

    Args:
        place: what was being done, in words.
        way_out: likewise.

    Raises:
        MoseError: if memory, of the GPU or the machine, has run out.
    """
    try:
        yield
    except Exception as error:
        if ran_out_of_memory(error):
            raise MoseError(f"memory ran out {place}: {way_out}") from error
        raise


def ran_out_of_memory(error: BaseException) -> bool:
    """Whether an error, or one that it came from, says that no memory is left.

    Example:
        >>> ran_out_of_memory(MemoryError())
        True
        >>> ran_out_of_memory(ValueError("out of range"))
        False
    """
    return any(
        isinstance(cause, MemoryError | torch.OutOfMemoryError)
        or (isinstance(cause, RuntimeError) and "can't allocate memory" in str(cause))  # PyTorch's allocator of the CPU
        for cause in causes_of(error)
    )


def causes_of(error: BaseException) -> list[BaseException]:
    """An error and those that it was raised from, the first one last."""
    causes = [error]
    while causes[-1].__cause__ is not None:
        causes.append(causes[-1].__cause__)
    return causes
