"""Stages of a case: which one it is in, and how long each took."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from datetime import UTC, datetime
from typing import Literal

from mose_med.runtime.progress import Progress, unseen

__all__ = ["Stage", "Stages"]

Stage = Literal["read", "infer", "write"]


class Stages:
    """Keeps the stage that a case is in (after an error, the stage that failed) and the seconds of the finished ones.

    ``case`` is the case's name from when it is known.

    Args:
        around: makes the context of the work of a stage: a lock, a line on the terminal.
        progress: is told within a stage what is counted, how many are done and how many there are.
    """

    def __init__(
        self,
        around: Callable[[Stage], AbstractContextManager[object]] | None = None,
        progress: Progress = unseen,
    ) -> None:
        self.started = datetime.now(UTC)
        self.current: Stage = "read"
        self.case: str | None = None
        self.seconds: dict[str, float] = {}
        self.progress = progress
        self._around = around
        self._begun = time.perf_counter()

    @contextmanager
    def enter(self, stage: Stage) -> Iterator[None]:
        """Do the work of a stage."""
        self.current = stage
        with nullcontext() if self._around is None else self._around(stage):
            self._begun = time.perf_counter()
            try:
                yield
            finally:
                self.seconds[f"{stage}_s"] = self.elapsed_s()

    @contextmanager
    def timed(self, name: str) -> Iterator[None]:
        """Keep the seconds of what comes before the stages of a case."""
        begun = time.perf_counter()
        yield
        self.seconds[f"{name}_s"] = round(time.perf_counter() - begun, 3)

    def elapsed_s(self) -> float:
        """Seconds since the current stage began."""
        return round(time.perf_counter() - self._begun, 3)
