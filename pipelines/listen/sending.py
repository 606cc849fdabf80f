"""A thread that sends the objects of finished studies, and retries until they arrive."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Protocol

from mose_med.case_contents.dicom_kinds import dicom_files
from mose_med.errors import MoseError
from pipelines.listen.spool import Outcome, Revision, Spool

__all__ = ["Sender", "Target"]

_LOGGER = logging.getLogger(__name__)
#: How often to look for what is to be sent, and how long to wait after a failure.
_LOOK_S, _AGAIN_S = 0.5, 30.0


class Target(Protocol):
    """A destination of objects."""

    @property
    def name(self) -> str:
        """Its name in messages."""
        ...

    def store(self, files: Sequence[Path]) -> None:
        """Send DICOM files.

        Raises:
            DataError: if they are not there afterwards.
        """
        ...


class Sender:
    """Sends the objects of finished studies to every target.

    Args:
        spool: that knows what is to be sent.
        results: folder of the cases.
        targets: where objects go.
        clock: seconds, which never go back.
    """

    def __init__(
        self, spool: Spool, results: Path, targets: Sequence[Target], clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._spool = spool
        self._results = results
        self._targets = targets
        self._clock = clock
        self._not_before: dict[Path, float] = {}

    @contextmanager
    def running(self) -> Iterator[None]:
        """Send in a thread inside the context."""
        ended = threading.Event()
        thread = threading.Thread(target=self._run, args=(ended,), daemon=True)
        thread.start()
        try:
            yield
        finally:
            ended.set()

    def _run(self, ended: threading.Event) -> None:
        while not ended.wait(_LOOK_S):
            self.send()

    def send(self) -> None:
        """Send what is due and was not tried just now."""
        for revision, outcome in self._spool.unsent():
            if self._clock() >= self._not_before.get(revision.folder, 0):
                self._send(revision, outcome)

    def _send(self, revision: Revision, outcome: Outcome) -> None:
        try:
            files = dicom_files(self._results / outcome.case)
            for target in self._targets:
                target.store(files)
        except Exception as error:
            # Whatever it was, the other studies are sent; of foreign errors only the kind is logged.
            reason = str(error) if isinstance(error, MoseError) else type(error).__name__
            _LOGGER.warning("%s was not sent, next attempt in %g s: %s", outcome.case, _AGAIN_S, reason)
            self._not_before[revision.folder] = self._clock() + _AGAIN_S
            return
        self._not_before.pop(revision.folder, None)
        self._spool.settle(revision, outcome._replace(sent=True))
        if self._targets:
            _LOGGER.info("%s was sent to %s", outcome.case, ", ".join(target.name for target in self._targets))
