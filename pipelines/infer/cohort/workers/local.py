"""Workers as processes of this machine, one for each GPU or each share of the CPU."""

from __future__ import annotations

import contextlib
import logging
import os
import signal
import tempfile
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from multiprocessing.connection import Connection, wait
from typing import Any

from mose_med.api.stages import Stage
from pipelines.common.processes import begin_process, spawn_context
from pipelines.infer.cohort.finding.entries import Entry
from pipelines.infer.cohort.workers.clock import CaseClock
from pipelines.infer.cohort.workers.engine import Done, Engine, Event, Lost, Ready, Worker
from pipelines.infer.cohort.workers.messages import WorkerSetup, describe_start_error

__all__ = ["LocalEngine"]

_LOGGER = logging.getLogger(__name__)
#: Time that a process has to return its exit code after its pipe closed.
_LAST_WORDS_S = 5.0


class LocalEngine(Engine):
    """Processes that end with this one.

    Args:
        setup: of every worker.
        devices: given to workers in turn.
    """

    def __init__(self, setup: WorkerSetup, devices: list[str]) -> None:
        self._setup = setup
        self._devices = devices
        self._started = 0
        self._scratch = tempfile.TemporaryDirectory(prefix="mose-med-")
        self._workers: dict[Connection, _Process] = {}

    def start(self) -> Worker:
        """See :class:`Engine`."""
        device = self._devices[self._started % len(self._devices)]
        self._started += 1
        worker = _Process(self._setup._replace(device=device), self._scratch.name)
        self._workers = {pipe: other for pipe, other in self._workers.items() if not pipe.closed}
        self._workers[worker.pipe] = worker
        return worker

    def wait(self, timeout_s: float) -> list[Event]:
        """See :class:`Engine`."""
        alive = [pipe for pipe in self._workers if not pipe.closed]
        events: list[Event] = []
        for pipe in wait(alive, timeout_s):
            events += self._workers[pipe].events()  # type: ignore[index]
        return events

    def close(self) -> None:
        """See :class:`Engine`."""
        for worker in self._workers.values():
            if not worker.pipe.closed:
                worker.kill()
        self._scratch.cleanup()


class _Process(Worker):
    """A worker process, and its last message."""

    def __init__(self, setup: WorkerSetup, scratch: str) -> None:
        self.pipe, theirs = spawn_context().Pipe()
        self._process = spawn_context().Process(target=_serve, args=(theirs, setup, scratch), daemon=True)
        self._process.start()
        theirs.close()
        self._clock = CaseClock()
        self._begun = time.monotonic()

    def begin(self, number: int, entry: Entry) -> None:
        """See :class:`Worker`."""
        self._clock.move(number, "read", waiting=False)
        with contextlib.suppress(OSError):
            self.pipe.send((number, entry))

    def hung(self, limit_s: float) -> dict[int, Stage]:
        """See :class:`Worker`."""
        return {} if self.pipe.poll() else self._clock.over(limit_s)

    def loading_s(self) -> float:
        """See :class:`Worker`."""
        return time.monotonic() - self._begun

    def stage(self, number: int) -> Stage:
        """See :class:`Worker`."""
        return self._clock.stage(number)

    def kill(self) -> None:
        """See :class:`Worker`."""
        self._process.kill()
        self._process.join()
        self._process.close()
        self.pipe.close()

    def events(self) -> list[Event]:
        """Read what the process sent."""
        events: list[Event] = []
        try:
            while self.pipe.poll():
                events += self._events_of_message(*self.pipe.recv())
        except (EOFError, OSError):
            events.append(Lost(self, self._cause()))
        return events

    def _events_of_message(self, kind: str, *content: Any) -> list[Event]:
        if kind == "ready":
            return [Ready(self)]
        if kind == "refused":
            return [Lost(self, content[0], refused=True)]
        if kind == "stage":
            self._clock.move(*content)
            return []
        number, report = content
        self._clock.end(number)
        return [Done(self, number, report)]

    def _cause(self) -> str:
        self._process.join(_LAST_WORDS_S)
        code = self._process.exitcode
        if code == -signal.SIGKILL:
            return "killed (signal 9), as the system does when memory runs out"
        return f"signal {-code}" if code is not None and code < 0 else f"exit code {code}"


def _serve(pipe: Connection, setup: WorkerSetup, scratch: str) -> None:
    """Take cases from a pipe until it closes."""
    sending = threading.Lock()

    def tell(*words: object) -> None:
        with sending:
            pipe.send(words)

    try:
        begin_process(scratch, setup.log_file)
        from pipelines.infer.cohort.workers.worker import CaseWorker

        worker = CaseWorker(setup, lambda *place: tell("stage", *place))
    except Exception as error:
        return tell("refused", describe_start_error(error))
    tell("ready")

    def work(number: int, entry: Entry) -> None:
        try:
            tell("done", number, worker.work(number, entry))
        except BaseException as error:
            # The case can no longer be reported: the run notices that the worker ended, and retries.
            # The log gets the kind alone, since a message may name whose the study is.
            _LOGGER.error("a worker ends after an error that it could not report (%s)", type(error).__name__)
            os._exit(1)

    with ThreadPoolExecutor(setup.in_flight) as pool, contextlib.suppress(EOFError):
        while True:
            pool.submit(work, *pipe.recv())
