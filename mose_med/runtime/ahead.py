"""Results that threads compute ahead of their use."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Executor, Future, ThreadPoolExecutor, wait
from contextlib import nullcontext
from typing import TypeVar

__all__ = ["ahead"]

Item = TypeVar("Item")
Result = TypeVar("Result")


def ahead(
    function: Callable[[Item], Result], items: Iterable[Item], threads: int, pool: Executor | None = None
) -> Iterator[Result]:
    """What ``function`` makes of the items, in their order; an error comes in its turn.

    Args:
        function: called by the threads.
        items: taken one by one, no more than ``threads`` of them beyond the one whose result is used.
        threads: that work ahead.
        pool: that they are of; of their own if None. Nothing that was begun there is left to run on.

    Example:
        >>> list(ahead(str.upper, ["a", "b", "c"], threads=2))
        ['A', 'B', 'C']
    """
    pending: deque[Future[Result]] = deque()
    with ThreadPoolExecutor(threads) if pool is None else nullcontext(pool) as workers:
        try:
            for item in items:
                pending.append(workers.submit(function, item))
                if len(pending) > threads:
                    yield pending.popleft().result()
            while pending:
                yield pending.popleft().result()
        finally:
            for future in pending:
                future.cancel()
            wait(pending)
