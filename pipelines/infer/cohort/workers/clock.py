"""The time that a worker has spent on each of its cases."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

from mose_med.api.stages import Stage

__all__ = ["CaseClock"]


@dataclass
class _Time:
    stage: Stage
    spent_s: float
    since: float | None


class CaseClock:
    """Time that every case has had of its worker, over all stages.

    The clock of a case stands while the case waits until another one leaves a stage: what hangs is to blame, not what
    waits behind it.

    Args:
        now: seconds of a clock that never goes back.

    Example:
        >>> seconds = iter([0.0, 10.0, 50.0, 55.0])
        >>> clock = CaseClock(lambda: next(seconds))
        >>> clock.move(1, "read", waiting=False)
        >>> clock.move(1, "infer", waiting=True)
        >>> clock.move(1, "infer", waiting=False)
        >>> clock.over(14.0)
        {1: 'infer'}
    """

    def __init__(self, now: Callable[[], float] = time.monotonic) -> None:
        self._now = now
        self._times: dict[int, _Time] = {}

    def move(self, number: int, stage: Stage, waiting: bool) -> None:
        """A case is in a stage, or waits for it; one that is not known begins."""
        now = self._now()
        case = self._times.setdefault(number, _Time(stage, 0.0, None))
        if case.since is not None:
            case.spent_s += now - case.since
        case.stage, case.since = stage, None if waiting else now

    def end(self, number: int) -> None:
        """A case is done."""
        self._times.pop(number, None)

    def stage(self, number: int) -> Stage:
        """The stage that a case is in or waits for."""
        case = self._times.get(number)
        return "read" if case is None else case.stage

    def over(self, limit_s: float) -> dict[int, Stage]:
        """Cases that have had more than a time and are still at it, with their stage."""
        now = self._now()
        return {
            number: case.stage
            for number, case in list(self._times.items())
            if case.since is not None and case.spent_s + now - case.since > limit_s
        }
