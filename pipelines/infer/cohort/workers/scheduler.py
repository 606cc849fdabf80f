"""Gives cases to workers: a worker that ends or hangs is replaced, and its cases are given again.

A worker may hold several cases when it ends, and which of them brought it down is not known. Each is tried again, alone
in a worker; one that brings down several workers while alone is recorded as failed.
"""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Generator, Iterator
from dataclasses import dataclass, field
from itertools import islice

from mose_med.errors import ConfigError
from pipelines.infer.cohort.failures import Failure, lost_worker, timed_out
from pipelines.infer.cohort.finding.entries import Entry
from pipelines.infer.cohort.workers.engine import Done, Engine, Event, Lost, Ready, Worker
from pipelines.infer.cohort.workers.messages import FAULT_OF_OURS, Report

__all__ = ["Finished", "Scheduler"]

_LOGGER = logging.getLogger(__name__)
#: Workers that a case may bring down while it is alone in them; a node that goes down counts too.
_MAX_LOSSES = 3
#: Workers in a row that may end before they are ready.
_MAX_FAILED_STARTS = 3
_TICK_S = 0.5

#: A case and what became of it.
Finished = tuple[Entry, Report | Failure]


@dataclass
class _Task:
    entry: Entry
    losses: int = 0


@dataclass
class _Place:
    """The cases that a worker has in flight."""

    ready: bool = False
    alone: bool = False
    numbers: list[int] = field(default_factory=list)


class Scheduler:
    """Runs cases on the workers of an engine.

    Args:
        engine: that has the workers.
        num_workers: workers to keep.
        in_flight: cases that a worker has in flight at once; this bounds the memory.
        case_timeout_s: time that a case may have of its worker; None waits for ever.
        start_timeout_s: time that a worker may take to load its model.
    """

    def __init__(
        self,
        engine: Engine,
        *,
        num_workers: int,
        in_flight: int,
        case_timeout_s: float | None,
        start_timeout_s: float,
    ) -> None:
        self._engine = engine
        self._num_workers = num_workers
        self._in_flight = in_flight
        self._timeout_s = case_timeout_s
        self._start_timeout_s = start_timeout_s
        self._crew: dict[Worker, _Place] = {}
        self._tasks: dict[int, _Task] = {}
        self._again: deque[int] = deque()
        self._waiting: Iterator[tuple[int, Entry | None]] = iter(())
        self._first: deque[tuple[int, Entry | None]] = deque()
        self._all_taken = False
        self._failed_starts = 0

    def run(self, entries: Iterator[Entry | None]) -> Generator[Finished, None, None]:
        """Do the cases; they are taken from ``entries`` as workers become free.

        Args:
            entries: the cases; None where there is none yet, so that it is asked again.

        Raises:
            ConfigError: if workers cannot start.
            RuntimeError: if that is a fault of ours.
        """
        self._waiting = enumerate(entries)
        self._first.extend(islice(self._waiting, self._num_workers))
        self._all_taken = len(self._first) < self._num_workers
        try:
            while True:
                self._keep_workers()
                self._assign()
                if self._all_taken and not self._first and not self._tasks:
                    return
                for event in self._engine.wait(_TICK_S):
                    yield from self._handle(event)
                yield from self._end_hung()
                self._end_slow_starts()
        finally:
            self._engine.close()

    def _keep_workers(self) -> None:
        left = len(self._first) + len(self._tasks)
        needed = min(self._num_workers, left) if self._all_taken else self._num_workers
        while len(self._crew) < needed:
            self._crew[self._engine.start()] = _Place()

    def _assign(self) -> None:
        while (free := self._least_busy()) is not None:
            worker, place = free
            if self._again and not place.numbers:
                place.alone = True
                self._give(worker, place, self._again.popleft())
                continue
            taken = self._first.popleft() if self._first else next(self._waiting, None)
            if taken is None:
                self._all_taken = True
                return
            number, entry = taken
            if entry is None:
                return
            self._tasks[number] = _Task(entry)
            self._give(worker, place, number)

    def _least_busy(self) -> tuple[Worker, _Place] | None:
        open_places = [
            (worker, place)
            for worker, place in self._crew.items()
            if place.ready and not place.alone and len(place.numbers) < self._in_flight
        ]
        return min(open_places, key=lambda item: len(item[1].numbers), default=None)

    def _give(self, worker: Worker, place: _Place, number: int) -> None:
        place.numbers.append(number)
        worker.begin(number, self._tasks[number].entry)

    def _handle(self, event: Event) -> Iterator[Finished]:
        place = self._crew.get(event.worker)
        if place is None:
            return
        if isinstance(event, Ready):
            place.ready, self._failed_starts = True, 0
            _LOGGER.debug("a worker is ready")
        elif isinstance(event, Done):
            place.numbers.remove(event.number)
            place.alone = False
            yield self._tasks.pop(event.number).entry, event.report
        else:
            yield from self._replace(event, place)

    def _replace(self, event: Lost, place: _Place) -> Iterator[Finished]:
        """Drop a worker that ended; what it had is tried again, or given up."""
        self._drop(event.worker)
        _LOGGER.warning("a worker ended (%s): %d cases will be retried", event.cause, len(place.numbers))
        if not place.ready:
            self._start_failed(event.cause, for_good=event.refused)
        for number in place.numbers:
            task = self._tasks[number]
            task.losses += len(place.numbers) == 1
            if task.losses >= _MAX_LOSSES:
                yield self._tasks.pop(number).entry, lost_worker(event.worker.stage(number), event.cause)
            else:
                self._again.append(number)

    def _start_failed(self, cause: str, *, for_good: bool = False) -> None:
        """Continue with fewer workers if one cannot start, unless none is left."""
        self._failed_starts += 1
        if not for_good and self._failed_starts < _MAX_FAILED_STARTS:
            return
        if not any(place.ready for place in self._crew.values()):
            message = f"workers cannot start: {cause.removeprefix(FAULT_OF_OURS)}"
            raise (RuntimeError if cause.startswith(FAULT_OF_OURS) else ConfigError)(message)
        self._num_workers, self._failed_starts = len(self._crew), 0
        _LOGGER.warning("a worker cannot start (%s): %d workers are left", cause, self._num_workers)

    def _end_slow_starts(self) -> None:
        for worker, place in list(self._crew.items()):
            if not place.ready and worker.loading_s() > self._start_timeout_s:
                self._drop(worker)
                self._start_failed(f"the model was not loaded within {self._start_timeout_s:g} s (--start-timeout)")

    def _end_hung(self) -> Iterator[Finished]:
        if self._timeout_s is None:
            return
        for worker, place in list(self._crew.items()):
            hung = worker.hung(self._timeout_s) if place.numbers else {}
            for number, stage in hung.items():
                place.numbers.remove(number)
                yield self._tasks.pop(number).entry, timed_out(stage, self._timeout_s)
            if hung:
                self._drop(worker)
                self._again.extend(place.numbers)

    def _drop(self, worker: Worker) -> None:
        del self._crew[worker]
        worker.kill()
