"""The rate of finished cases, and the remaining time."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable

__all__ = ["Pace"]

#: Over which the rate is taken, once a run is that old.
_WINDOW_S = 600.0


class Pace:
    """Rate of the last minutes; before that, of the run so far, its start included.

    Args:
        now: seconds of a clock that never goes back.

    Example:
        >>> seconds = iter([0.0, 30.0, 60.0, 60.0])
        >>> pace = Pace(lambda: next(seconds))
        >>> pace.count()
        >>> pace.per_minute()
        1.0
        >>> pace.remaining_s(5)
        300.0
    """

    def __init__(self, now: Callable[[], float] = time.monotonic) -> None:
        self._now = now
        self._start = now()
        self._finished: deque[float] = deque()

    def count(self) -> None:
        """Count a finished case."""
        self._finished.append(self._now())

    def per_minute(self) -> float | None:
        """Cases a minute; None while there was none."""
        now = self._now()
        since = max(self._start, now - _WINDOW_S)
        while self._finished and self._finished[0] <= since:
            self._finished.popleft()
        if not self._finished or now <= since:
            return None
        return 60 * len(self._finished) / (now - since)

    def remaining_s(self, cases: int) -> float | None:
        """Seconds that a number of cases will take; None while that is not known."""
        rate = self.per_minute()
        return None if rate is None else 60 * cases / rate
