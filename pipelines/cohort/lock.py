"""Runs that share an output folder, and which of them may tidy it and write its tables."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from pipelines.case_names import private_folder
from pipelines.inference.store import ResultStore

__all__ = ["shared_run"]

_LOCK_NAME = "run.lock"


@contextmanager
def shared_run(home: Path, store: ResultStore) -> Iterator[Callable[[], bool]]:
    """Take part in the output; what killed runs left half done is removed when no other run takes part.

    The lock is the operating system's, so that a killed run lets go of it.

    Yields:
        Function to call when this run's cases are done: whether it is the last, so that it may write the tables of all.
        Of runs that end at the same time, one is.
    """
    descriptor = os.open(private_folder(home) / _LOCK_NAME, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        _tidy_if_alone(descriptor, store)
        fcntl.flock(descriptor, fcntl.LOCK_SH)
        yield lambda: _is_last(descriptor)
        _tidy_if_alone(descriptor, store)
    finally:
        os.close(descriptor)


def _is_last(descriptor: int) -> bool:
    """Take the lock for this run alone; it is let go first, or two that end at once would both give up."""
    fcntl.flock(descriptor, fcntl.LOCK_UN)
    return _take(descriptor)


def _tidy_if_alone(descriptor: int, store: ResultStore) -> None:
    if _take(descriptor):
        store.clean()


def _take(descriptor: int) -> bool:
    """Whether the lock could be had for this run alone."""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True
