"""What a run and its workers tell each other: picklable, and light to import, so that the run holds no PyTorch."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

from pipelines.case_names import unread_case_name
from pipelines.cohort.entries import Entry
from pipelines.cohort.failures import Failure
from pipelines.inference.options import ResultOptions
from pipelines.inference.store import Destination

__all__ = ["Report", "WorkerSetup", "Written", "nameless_case"]


class WorkerSetup(NamedTuple):
    """What a worker needs to begin.

    Attributes:
        checkpoint: weights.
        device: as ``--device``.
        threads: of the CPU.
        options: what decides a result.
        destination: of the results.
        in_flight: cases that are in the worker at once.
    """

    checkpoint: Path
    device: str
    threads: int
    options: ResultOptions
    destination: Destination
    in_flight: int


class Written(NamedTuple):
    """A case that is there: the hash of its ``provenance.json``, and whose it is, for ``private/`` alone."""

    provenance_sha256: str
    patient_id: str
    study_uid: str
    series_uid: str


class Report(NamedTuple):
    """What became of a case, and the fingerprint that its files had before."""

    case: str
    fingerprint: str
    result: Written | Failure


def nameless_case(entry: Entry, destination: Destination) -> str:
    """Name of a case whose series could not be read."""
    return entry.case or unread_case_name(destination.key, entry.key)
