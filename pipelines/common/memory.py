"""One-line errors, with advice, for exhausted memory and killed processes.

Nothing here imports PyTorch: the parent process of a cohort asks, too.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from concurrent.futures import BrokenExecutor
from contextlib import contextmanager

from mose_med.errors import MoseError
from mose_med.runtime.memory_errors import causes_of, ran_out_of_memory

__all__ = ["causes_of", "lost_process", "named_memory_errors", "ran_out_of_memory"]

#: PyTorch's message when a process that loads data was killed.
_LOST_LOADER = re.compile(r"DataLoader worker \(pid.*\) (is killed by signal|exited unexpectedly)")


@contextmanager
def named_memory_errors(place: str, remedy: str) -> Iterator[None]:
    """Name where memory has run out, and what to do about it; other errors pass.

    Args:
        place: what was being done, in words.
        remedy: likewise.

    Raises:
        MoseError: if memory, of the GPU or the machine, has run out.
    """
    try:
        yield
    except Exception as error:
        if ran_out_of_memory(error):
            raise MoseError(f"memory ran out {place}: {remedy}") from error
        raise


def lost_process(error: BaseException) -> bool:
    """Whether an error, or one that it came from, says that a worker process has ended.

    Example:
        >>> lost_process(RuntimeError("DataLoader worker (pid 7) is killed by signal: Killed."))
        True
    """
    return any(
        isinstance(cause, BrokenExecutor) or (isinstance(cause, RuntimeError) and _LOST_LOADER.search(str(cause)))
        for cause in causes_of(error)
    )
