"""Messages between a run and its workers: picklable, and light to import, so that the run does not load PyTorch."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import NamedTuple

from mose_med.api.options import ResultOptions
from mose_med.errors import MoseError
from pipelines.common.case_names import unreadable_case_name
from pipelines.common.memory import ran_out_of_memory
from pipelines.infer.cohort.failures import Failure
from pipelines.infer.cohort.finding.entries import Entry
from pipelines.infer.store import Destination

__all__ = ["FAULT_OF_OURS", "Report", "WorkerSetup", "Written", "describe_start_error", "fallback_case_name"]

_LOGGER = logging.getLogger(__name__)
#: Prefix of the reason why a worker cannot start, if the user did not cause it.
FAULT_OF_OURS = "internal error: "


class WorkerSetup(NamedTuple):
    """What a worker needs to begin.

    Attributes:
        checkpoint: weights.
        device: as ``--device``.
        threads: of the CPU.
        options: what decides a result.
        destination: of the results.
        in_flight: cases that are in the worker at once.
        log_file: that it also writes to, with the run and other workers.
    """

    checkpoint: Path
    device: str
    threads: int
    options: ResultOptions
    destination: Destination
    in_flight: int
    log_file: Path | None = None


class Written(NamedTuple):
    """A case that is there: the hash of its ``provenance.json``, and whose it is, for ``private/`` alone."""

    provenance_sha256: str
    patient_id: str
    study_uid: str
    series_uid: str


class Report(NamedTuple):
    """The outcome of a case, and the fingerprint of its files before."""

    case: str
    fingerprint: str
    result: Written | Failure


def describe_start_error(error: Exception) -> str:
    """Why a worker cannot start, in one line; the log gets where an error of ours was."""
    if isinstance(error, MoseError):
        return str(error)
    text = " ".join(str(error).split()) or type(error).__name__
    if ran_out_of_memory(error):
        return f"memory ran out while the model was loaded ({text}): use fewer --workers"
    _LOGGER.error("a worker cannot start", exc_info=error)
    return f"{FAULT_OF_OURS}{type(error).__name__}: {text}"


def fallback_case_name(entry: Entry, destination: Destination) -> str:
    """Name of a case whose series could not be read."""
    return entry.case or unreadable_case_name(destination.key, entry.key)
