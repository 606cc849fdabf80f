"""Decides when a study is complete: DICOM does not say so, so the rule uses what can be observed.

A study is complete once nothing of it has come for a quiet time, and no association is open that sent an object of it
last. A modality may thus send a study over several associations, one after another or side by side, and may pause
within one. An association that moves on to another study no longer keeps the first waiting; its end begins the quiet
time again.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Protocol

__all__ = ["Association", "Completion"]


class Association(Protocol):
    """A connection of a sender, which is a thread here."""

    def is_alive(self) -> bool:
        """Whether it is open."""
        ...


class Completion:
    """The studies that are being received.

    Args:
        quiet_s: time without an object after which a study is complete.
        clock: seconds, which never go back.
    """

    def __init__(self, quiet_s: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._quiet_s = quiet_s
        self._clock = clock
        self._latest: dict[str, float] = {}
        self._sending: dict[Association, str] = {}

    def received(self, study: str, association: Association | None = None) -> None:
        """An object of a study has come, over an association or from an earlier run of the node."""
        self._latest[study] = self._clock()
        if association is not None:
            self._sending[association] = study

    def take_complete(self) -> list[str]:
        """Studies that are complete now; each is reported once, until more of it comes."""
        self._end_closed()
        limit = self._clock() - self._quiet_s
        held = {*self._sending.values()}
        complete = [study for study, latest in self._latest.items() if latest <= limit and study not in held]
        for study in complete:
            del self._latest[study]
        return complete

    def _end_closed(self) -> None:
        for association in [association for association in self._sending if not association.is_alive()]:
            study = self._sending.pop(association)
            if study in self._latest:
                self._latest[study] = self._clock()
