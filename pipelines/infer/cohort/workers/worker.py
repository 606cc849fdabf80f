"""One worker: a process, here or on another machine, that holds the model and takes cases one by one.

Several threads may call ``work`` at once. Each stage is done by one of them at a time, so that one case is read and
another written while a third is inferred.
"""

from __future__ import annotations

import dataclasses
import logging
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import get_args

from mose_med.api.model import load_model
from mose_med.api.options import ResultOptions
from mose_med.api.reading import CaseRequest
from mose_med.api.stages import Stage, Stages
from pipelines.infer.case import run_case
from pipelines.infer.cohort.failures import describe, describe_without_text
from pipelines.infer.cohort.finding.entries import Entry
from pipelines.infer.cohort.finding.fingerprint import fingerprint
from pipelines.infer.cohort.workers.messages import Report, WorkerSetup, Written, fallback_case_name

__all__ = ["CaseWorker"]

_LOGGER = logging.getLogger(__name__)


def _request(entry: Entry, options: ResultOptions) -> CaseRequest:
    nodules, lung_mask = (None if path is None else Path(path) for path in (entry.nodules, entry.lung_mask))
    request = CaseRequest(Path(entry.source), nodules, entry.series, options, entry.case, lung_mask)
    return dataclasses.replace(request, acquisition=entry.acquisition)


@contextmanager
def _named_thread(name: str) -> Iterator[None]:
    """Name this thread, for the log file."""
    thread = threading.current_thread()
    before, thread.name = thread.name, name
    try:
        yield
    finally:
        thread.name = before


class CaseWorker:
    """Holds the model; ``work`` does a case and always reports it.

    Args:
        setup: of the worker.
        announce: called with the number of a case, the stage that it is in or waits for, and whether it waits.

    Raises:
        MoseError: if the checkpoint or the device cannot be used.
    """

    def __init__(self, setup: WorkerSetup, announce: Callable[[int, Stage, bool], None]) -> None:
        self._setup = setup
        self._model = load_model(setup.checkpoint, setup.device, threads=setup.threads)
        self._locks = {stage: threading.Lock() for stage in get_args(Stage)}
        self._announce = announce

    def work(self, number: int, entry: Entry) -> Report:
        """Do a case."""
        with _named_thread(f"study {number + 1}"):
            return self._work(number, entry)

    def _work(self, number: int, entry: Entry) -> Report:
        stages = Stages(lambda stage: self._stage(number, stage))
        found = ""
        try:
            self._announce(number, "read", False)
            found = fingerprint(entry)
            outcome = run_case(self._model, _request(entry, self._setup.options), self._setup.destination, stages)
        except Exception as error:
            return self._failed(entry, found, stages, error)
        _LOGGER.info("is %s", outcome.case)
        who = outcome.source
        return Report(
            outcome.case,
            found,
            Written(outcome.provenance_sha256, who.patient_id, who.study_uid, who.series_uid),
        )

    def _failed(self, entry: Entry, found: str, stages: Stages, error: Exception) -> Report:
        """The report of a case that failed, even if its error cannot be described."""
        case = stages.case or fallback_case_name(entry, self._setup.destination)
        try:
            failure = describe(error, stages.current, _request(entry, self._setup.options))
        except Exception:
            failure = describe_without_text(error, stages.current)
        _LOGGER.info("%s failed in %s: %s", case, failure.stage, failure.reason)
        return Report(case, found, failure)

    @contextmanager
    def _stage(self, number: int, stage: Stage) -> Iterator[None]:
        self._announce(number, stage, True)
        with self._locks[stage]:
            self._announce(number, stage, False)
            yield
