"""Runs that share an output folder, and which of them may tidy it."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from pipelines.case_names import private_folder
from pipelines.inference.store import ResultStore

__all__ = ["shared_run"]

_LOCK_NAME = "run.lock"


@contextmanager
def shared_run(home: Path, store: ResultStore) -> Iterator[None]:
    """Take part in the output; what killed runs left half done is removed when no other run takes part.

    The lock is the operating system's, so that a killed run lets go of it.
    """
    descriptor = os.open(private_folder(home) / _LOCK_NAME, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        _tidy_if_alone(descriptor, store)
        yield
        _tidy_if_alone(descriptor, store)
    finally:
        os.close(descriptor)


def _tidy_if_alone(descriptor: int, store: ResultStore) -> None:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        pass
    else:
        store.clean()
    fcntl.flock(descriptor, fcntl.LOCK_SH)
