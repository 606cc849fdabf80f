"""Workers as actors of a Ray cluster, each with its share of a node's CPU or GPU.

Nothing but requests and reports passes through Ray: studies are read, and results written, by the actors themselves,
so that storage must be reached from every node under the same paths. An actor that dies, alone or with its node, is
replaced where there is room.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterable
from typing import Any, Literal, NamedTuple

from mose_med.api.stages import Stage
from mose_med.errors import ConfigError, MissingDependencyError
from pipelines.common.command_line.console import configure_logging
from pipelines.common.processes import keep_current_folder_out
from pipelines.common.runs.termination import handlers_kept
from pipelines.infer.cohort.finding.entries import Entry
from pipelines.infer.cohort.workers.clock import CaseClock
from pipelines.infer.cohort.workers.engine import Done, Engine, Event, Lost, Ready, Worker
from pipelines.infer.cohort.workers.messages import Report, WorkerSetup, describe_start_error

__all__ = ["RayEngine"]


class _Call(NamedTuple):
    """The request to an actor: confirm its place, load its model, or do a case."""

    worker: _ActorWorker
    what: Literal["place", "load", "work"]
    number: int = -1


class RayEngine(Engine):
    """Actors of an existing cluster, or of one that is started on this machine and ends with the run.

    Args:
        setup: of every worker.
        address: of the cluster; None starts one.
        gpu_share: part of a GPU that an actor takes, where the cluster has any and the device is not ``cpu``.
        num_workers: wanted; None takes as many as the cluster has room for.

    Raises:
        ConfigError: if there is no cluster at the address, or it has no room for a worker.
        MissingDependencyError: if Ray is not installed.
    """

    def __init__(self, setup: WorkerSetup, address: str | None, gpu_share: float, num_workers: int | None) -> None:
        try:
            import ray
        except ImportError as error:
            raise MissingDependencyError("ray", "ray") from error
        self._ray = ray
        self._connected = not ray.is_initialized()
        if self._connected:
            _connect(ray, address, None if num_workers is None else num_workers * setup.threads)
        total = ray.cluster_resources()  # type: ignore[no-untyped-call]
        on_gpu = setup.device != "cpu" and (setup.device != "auto" or total.get("GPU", 0) > 0)
        num_cpus, num_gpus = total.get("CPU", 0), total.get("GPU", 0)
        room = int(num_gpus / gpu_share) if on_gpu else int(num_cpus // setup.threads)
        if room < 1:
            self.close()
            raise ConfigError(
                f"the Ray cluster has {num_cpus:g} CPUs and {num_gpus:g} GPUs, a worker needs "
                + (f"{gpu_share:g} GPU" if on_gpu else f"{setup.threads} CPUs (--threads)")
            )
        self.capacity = num_workers or room
        self.device = "cuda" if on_gpu else "cpu"
        self._setup = setup._replace(device=self.device)
        self._actor_class = ray.remote(_Actor).options(
            num_cpus=setup.threads, num_gpus=gpu_share if on_gpu else 0, max_concurrency=setup.in_flight + 2
        )
        self._calls: dict[Any, _Call] = {}

    def start(self) -> Worker:
        """See :class:`Engine`."""
        worker = _ActorWorker(self._ray, self._actor_class.remote(self._setup), self._calls)
        self._calls[worker.actor.place.remote()] = _Call(worker, "place")
        return worker

    def wait(self, timeout_s: float) -> list[Event]:
        """See :class:`Engine`."""
        if not self._calls:
            return []
        ready, others = self._ray.wait(list(self._calls), num_returns=1, timeout=timeout_s)
        if others and ready:
            ready += self._ray.wait(others, num_returns=len(others), timeout=0)[0]
        events = [self._event(call) for call in ready if call in self._calls]
        return [event for event in events if event is not None]

    def close(self) -> None:
        """See :class:`Engine`."""
        if self._connected:
            self._ray.shutdown()

    def _event(self, call: Any) -> Event | None:
        worker, what, number = self._calls.pop(call)
        try:
            answer = self._ray.get(call)
        except self._ray.exceptions.RayError as error:
            worker.forget_calls()
            return Lost(worker, _first_line(error))
        if what == "place":
            worker.begun = time.monotonic()
            self._calls[worker.actor.load.remote()] = _Call(worker, "load")
            return None
        if what == "load":
            return Lost(worker, answer, refused=True) if answer else Ready(worker)
        worker.given.pop(number)
        return Done(worker, number, answer)


class _Actor:
    """The worker on its node."""

    def __init__(self, setup: WorkerSetup) -> None:
        self._setup = setup
        self._clock = CaseClock()

    def place(self) -> None:
        """Report that it has a place."""

    def load(self) -> str:
        """Load the model; why it cannot be used, or nothing."""
        try:
            configure_logging(quiet=True, log_file=self._setup.log_file, debug=False)
            from pipelines.infer.cohort.workers.worker import CaseWorker

            self._worker = CaseWorker(self._setup, self._clock.move)
        except Exception as error:
            return describe_start_error(error)
        return ""

    def work(self, number: int, entry: Entry) -> Report:
        """Do a case."""
        try:
            return self._worker.work(number, entry)
        finally:
            self._clock.end(number)

    def hung(self, limit_s: float) -> dict[int, Stage]:
        """Cases that have had more than a time."""
        return self._clock.over(limit_s)


class _ActorWorker(Worker):
    """An actor as the scheduler sees it."""

    def __init__(self, ray: Any, actor: Any, calls: dict[Any, _Call]) -> None:
        self.actor = actor
        self.given: dict[int, float] = {}
        self.begun: float | None = None
        self._ray = ray
        self._calls = calls
        self._question: tuple[Any, float] | None = None

    def begin(self, number: int, entry: Entry) -> None:
        """See :class:`Worker`."""
        self.given[number] = time.monotonic()
        self._calls[self.actor.work.remote(number, entry)] = _Call(self, "work", number)

    def hung(self, limit_s: float) -> dict[int, str]:
        """See :class:`Worker`; an actor that is silent for that long is assumed to hang in its oldest case."""
        now = time.monotonic()
        if self._question is None:
            if self.given and now - min(self.given.values()) > limit_s:
                self._question = (self.actor.hung.remote(limit_s), now)
            return {}
        question, asked = self._question
        if not self._ray.wait([question], timeout=0)[0]:
            return {next(iter(self.given)): "unknown stage"} if now - asked > limit_s else {}
        self._question = None
        try:
            over = self._ray.get(question)
        except self._ray.exceptions.RayError:
            return {}
        return {number: stage for number, stage in over.items() if number in self.given}

    def loading_s(self) -> float:
        """See :class:`Worker`."""
        return 0.0 if self.begun is None else time.monotonic() - self.begun

    def stage(self, number: int) -> str:
        """See :class:`Worker`."""
        return "unknown stage"

    def kill(self) -> None:
        """See :class:`Worker`."""
        self.forget_calls()
        self._ray.kill(self.actor)

    def forget_calls(self) -> None:
        """Stop waiting for its answers."""
        for call in [call for call, (worker, *_) in self._calls.items() if worker is self]:
            del self._calls[call]


class _NoFolders(list[str]):
    """Further folders that actors take modules from: Ray would add the current one, before all others."""

    def __bool__(self) -> bool:
        """An empty list would be replaced by one that can be extended."""
        return True

    def extend(self, folders: Iterable[str]) -> None:
        """Add none."""


def _connect(ray: Any, address: str | None, num_cpus: int | None) -> None:
    """Join a cluster or start one; one that is started here sends no usage statistics."""
    keep_current_folder_out()
    if address is None:
        os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    try:
        with handlers_kept():  # Ray sets its own
            ray.init(
                address or "local",
                job_config=ray.job_config.JobConfig(_py_driver_sys_path=_NoFolders()),
                num_cpus=None if address else num_cpus,
                include_dashboard=None if address else False,
                log_to_driver=False,
                logging_level="WARNING",
            )
    except (ConnectionError, RuntimeError, ValueError) as error:
        where = f"at {address}" if address else "on this machine"
        raise ConfigError(f"no Ray cluster can be reached {where}: {_first_line(error)}") from error


def _first_line(error: Exception) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0]
