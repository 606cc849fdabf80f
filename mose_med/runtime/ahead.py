"""Results that threads compute ahead of their use."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Generator, Iterable
from concurrent.futures import Executor, Future, ThreadPoolExecutor, wait
from typing import TypeVar

__all__ = ["ahead"]

Item = TypeVar("Item")
Result = TypeVar("Result")


def ahead(
    function: Callable[[Item], Result], items: Iterable[Item], threads: int, pool: Executor | None = None
) -> Generator[Result, None, None]:
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
    own: set[int] = set()

    def work(item: Item) -> Result:
        own.add(threading.get_ident())
        return function(item)

    workers = ThreadPoolExecutor(threads) if pool is None else pool
    try:
        for item in items:
            pending.append(workers.submit(work, item))
            if len(pending) > threads:
                yield _first(pending)
        while pending:
            yield _first(pending)
    finally:
        for future in pending:
            future.cancel()
        # The collector may close this in one of the threads that work for it, which cannot wait for itself.
        if threading.get_ident() not in own:
            wait(pending)
        if pool is None:
            workers.shutdown(wait=False)


def _first(pending: deque[Future[Result]]) -> Result:
    """The result of the first, which stays among those to wait for if waiting is interrupted."""
    result = pending[0].result()
    pending.popleft()
    return result
