"""What hangs in a real worker: a reader, and the worker itself before it has its model."""

from __future__ import annotations

import dataclasses
import fcntl
import multiprocessing
import os
import signal
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from mose_med.errors import ConfigError
from pipelines.infer.cohort.finding.entries import Entry
from pipelines.infer.cohort.options import CohortOptions
from pipelines.infer.cohort.run import infer_cohort
from pipelines.infer.cohort.workers.local import LocalEngine
from pipelines.infer.cohort.workers.messages import WorkerSetup
from pipelines.infer.cohort.workers.scheduler import Scheduler
from pipelines.infer.store import Destination


@pytest.fixture
def hold_open() -> Iterator[Callable[[Path], None]]:
    """Function that takes a lease of a file: whoever opens it then waits, as on storage that does not answer."""
    held: list[int] = []
    before = signal.signal(signal.SIGIO, signal.SIG_IGN)

    def hold(path: Path) -> None:
        held.append(os.open(path, os.O_RDONLY))
        fcntl.fcntl(held[-1], fcntl.F_SETLEASE, fcntl.F_WRLCK)

    yield hold
    for descriptor in held:
        os.close(descriptor)
    signal.signal(signal.SIGIO, before)


@pytest.mark.slow
def test_a_reader_that_hangs_costs_its_case_alone(cohort: CohortOptions, hold_open, failed_rows, leftovers):
    few = dataclasses.replace(cohort, input_dir=cohort.input_dir / "site 0", case_timeout_s=6.0, in_flight=3)
    hold_open(few.input_dir / "Zyxwvut 0" / "nodules.csv")
    assert infer_cohort(few) == (2, 0, 1, 0)
    (row,) = failed_rows(Path(cohort.output_dir))
    assert (row["stage"], row["reason"]) == ("read", "the case was not finished within 6 s")
    assert "--case-timeout" in row["advice"]
    assert leftovers(Path(cohort.output_dir)) == []


def test_workers_that_never_get_their_model_end_the_run(cohort: CohortOptions):
    setup = WorkerSetup(cohort.weights, "cpu", 1, cohort.result_options(), Destination(cohort.output_dir, b""), 1)
    scheduler = Scheduler(
        LocalEngine(setup, ["cpu"]), num_workers=2, in_flight=1, case_timeout_s=None, start_timeout_s=0.2
    )
    message = r"workers cannot start: the model was not loaded within 0.2 s \(--start-timeout\)"
    with pytest.raises(ConfigError, match=message):
        list(scheduler.run(iter([Entry("a", "a"), Entry("b", "b")])))
    assert multiprocessing.active_children() == []
