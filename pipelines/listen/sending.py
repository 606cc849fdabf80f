"""Threads that send the objects of finished studies, one a target, and retry until they arrive."""

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
from pipelines.listen.spool import Revision, Spool

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
        self._not_before: dict[tuple[Path, str], float] = {}
        self._recording = threading.Lock()

    @contextmanager
    def running(self) -> Iterator[None]:
        """Send in threads inside the context."""
        ended = threading.Event()
        # What was left for a target that is no longer named is done.
        for revision, _ in self._spool.unsent():
            self._record(revision)
        for target in self._targets:
            threading.Thread(target=self._run, args=(target, ended), daemon=True).start()
        try:
            yield
        finally:
            ended.set()

    def _run(self, target: Target, ended: threading.Event) -> None:
        while not ended.wait(_LOOK_S):
            self._send_to(target)

    def send(self) -> None:
        """Send what is due and was not tried just now, to one target after the other."""
        for target in self._targets:
            self._send_to(target)

    def _send_to(self, target: Target) -> None:
        for revision, outcome in self._spool.unsent():
            due = self._clock() >= self._not_before.get((revision.folder, target.name), 0)
            if due and target.name not in outcome.sent_to:
                self._send(target, revision, outcome.case)

    def _send(self, target: Target, revision: Revision, case: str) -> None:
        try:
            files = dicom_files(self._results / case)
            if files:
                target.store(files)
        except Exception as error:
            # Whatever it was, the other studies are sent; of foreign errors only the kind is logged.
            reason = str(error) if isinstance(error, MoseError) else type(error).__name__
            _LOGGER.warning("%s was not sent to %s, next attempt in %g s: %s", case, target.name, _AGAIN_S, reason)
            self._not_before[revision.folder, target.name] = self._clock() + _AGAIN_S
            return
        self._not_before.pop((revision.folder, target.name), None)
        self._record(revision, target)
        if files:
            _LOGGER.info("%s was sent to %s", case, target.name)
        else:
            _LOGGER.info("%s has no lesion, so there was nothing to send to %s", case, target.name)

    def _record(self, revision: Revision, target: Target | None = None) -> None:
        """Record which targets have the objects of a revision; it is done when all have them."""
        with self._recording:
            outcome = self._spool.outcome(revision)
            if outcome is None:
                return
            sent_to = sorted({*outcome.sent_to, *([target.name] if target else [])})
            sent = all(other.name in sent_to for other in self._targets)
            self._spool.settle(revision, outcome._replace(sent=sent, sent_to=tuple(sent_to)))
