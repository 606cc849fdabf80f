"""One worker: a process, here or on another machine, that holds the model and takes cases one by one.

Several threads may call ``work`` at once. Each stage is done by one of them at a time, so that one case is read and
another written while a third is inferred.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import get_args

from pipelines.cohort.entries import Entry
from pipelines.cohort.failures import describe
from pipelines.cohort.fingerprint import fingerprint
from pipelines.cohort.messages import Report, WorkerSetup, Written, nameless_case
from pipelines.inference.case import run_case
from pipelines.inference.model import load_model
from pipelines.inference.options import ResultOptions
from pipelines.inference.reading import CaseRequest
from pipelines.inference.stages import Stage, Stages

__all__ = ["CaseWorker"]


def _request(entry: Entry, options: ResultOptions) -> CaseRequest:
    nodules, lung_mask = (None if path is None else Path(path) for path in (entry.nodules, entry.lung_mask))
    return CaseRequest(Path(entry.source), nodules, entry.series, options, entry.case, lung_mask)


class CaseWorker:
    """Holds the model; ``work`` does a case and reports it, whatever happens.

    Args:
        setup: of the worker.
        announce: told the number of a case, the stage that it is in or waits for, and whether it waits.

    Raises:
        MoseError: if the checkpoint or the device cannot be used.
    """

    def __init__(self, setup: WorkerSetup, announce: Callable[[int, Stage, bool], None]) -> None:
        self._setup = setup
        self._model = load_model(setup.checkpoint, setup.device, setup.threads)
        self._locks = {stage: threading.Lock() for stage in get_args(Stage)}
        self._announce = announce

    def work(self, number: int, entry: Entry) -> Report:
        """Do a case."""
        self._announce(number, "read", False)
        stages = Stages(lambda stage: self._stage(number, stage))
        found = fingerprint(entry)
        request = _request(entry, self._setup.options)
        destination = self._setup.destination
        try:
            outcome = run_case(self._model, request, destination, stages)
        except Exception as error:
            case = stages.case or nameless_case(entry, destination)
            return Report(case, found, describe(error, stages.current, request))
        who = outcome.source
        return Report(
            outcome.case,
            found,
            Written(outcome.provenance_sha256, who.patient_id, who.study_uid, who.series_uid),
        )

    @contextmanager
    def _stage(self, number: int, stage: Stage) -> Iterator[None]:
        self._announce(number, stage, True)
        with self._locks[stage]:
            self._announce(number, stage, False)
            yield
