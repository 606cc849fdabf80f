"""What the scheduler requires of an engine: workers that take cases, and events about them."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import NamedTuple

from pipelines.infer.cohort.finding.entries import Entry
from pipelines.infer.cohort.workers.messages import Report

__all__ = ["Done", "Engine", "Event", "Lost", "Ready", "Worker"]


class Worker(ABC):
    """A worker as the scheduler sees it."""

    @abstractmethod
    def begin(self, number: int, entry: Entry) -> None:
        """Give it a case; the answer comes as an event, even if the worker is gone."""

    @abstractmethod
    def hung(self, limit_s: float) -> Mapping[int, str]:
        """Cases that have had more than a time of the worker, waiting for other cases apart, with their stage."""

    @abstractmethod
    def loading_s(self) -> float:
        """Seconds that it has been loading its model; 0 while it waits for its place in a cluster."""

    @abstractmethod
    def stage(self, number: int) -> str:
        """The stage that a case was last known to be in."""

    @abstractmethod
    def kill(self) -> None:
        """Kill it; it sends no more events."""


class Ready(NamedTuple):
    """A worker has its model and can take cases."""

    worker: Worker


class Done(NamedTuple):
    """A worker reports a case."""

    worker: Worker
    number: int
    report: Report


class Lost(NamedTuple):
    """A worker ended; ``refused`` if it said itself that it cannot work."""

    worker: Worker
    cause: str
    refused: bool = False


Event = Ready | Done | Lost


class Engine(ABC):
    """Starts workers and receives their events."""

    @abstractmethod
    def start(self) -> Worker:
        """Start a worker; it is ready when an event says so."""

    @abstractmethod
    def wait(self, timeout_s: float) -> list[Event]:
        """The events so far, after at most this time."""

    @abstractmethod
    def close(self) -> None:
        """End all workers."""
