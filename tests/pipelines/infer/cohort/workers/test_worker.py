"""What a worker does with internal errors, also with those that it cannot tell, and where it writes."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from pathlib import Path

import pytest

from mose_med.errors import ConfigError
from pipelines.cli import invoke
from pipelines.infer.cohort.finding.entries import Entry
from pipelines.infer.cohort.options import CohortOptions
from pipelines.infer.cohort.run import infer_cohort
from pipelines.infer.cohort.workers.local import LocalEngine
from pipelines.infer.cohort.workers.messages import WorkerSetup
from pipelines.infer.cohort.workers.scheduler import Finished, Scheduler
from pipelines.infer.cohort.workers.worker import CaseWorker
from pipelines.infer.store import Destination


@pytest.fixture
def setup(cohort: CohortOptions) -> WorkerSetup:
    """A worker on the CPU."""
    return WorkerSetup(cohort.weights, "cpu", 1, cohort.result_options(), Destination(cohort.output_dir, b""), 1)


def work(setup: WorkerSetup, *entries: Entry) -> list[Finished]:
    engine = LocalEngine(setup, ["cpu"])
    scheduler = Scheduler(engine, num_workers=1, in_flight=1, case_timeout_s=None, start_timeout_s=600.0)
    return list(scheduler.run(iter(entries)))


def fault_of_ours(*_: object) -> None:
    raise ZeroDivisionError("Zyxwvut")


def test_an_error_of_ours_keeps_its_traceback_in_the_private_folder(
    cohort: CohortOptions, setup: WorkerSetup, monkeypatch: pytest.MonkeyPatch, failed_rows
):
    monkeypatch.setattr("pipelines.infer.cohort.workers.worker.run_case", fault_of_ours)
    entry = Entry("a", str(cohort.input_dir / "site 0" / "Zyxwvut 0"))
    report = CaseWorker(setup, lambda *_: None).work(0, entry)

    def finished(scheduler: Scheduler, _: object) -> Iterator[Finished]:
        scheduler._engine.close()
        yield entry, report

    monkeypatch.setattr(Scheduler, "run", finished)
    infer_cohort(cohort)
    (kept,) = (Path(cohort.output_dir) / "private" / "errors").iterdir()
    assert kept.read_text().startswith("Traceback (most recent call last):")
    assert "in fault_of_ours" in kept.read_text()
    assert (kept.stat().st_mode & 0o777, kept.parent.stat().st_mode & 0o777) == (0o600, 0o700)
    (row,) = failed_rows(Path(cohort.output_dir))
    assert row["advice"] == "please report it; the traceback is in private/errors (read)"
    assert kept.stem == row["case"]


def test_an_error_before_the_case_is_read_is_reported(setup: WorkerSetup):
    report = CaseWorker(setup, lambda *_: None).work(0, Entry("a", "nowhere", lung_mask=0.5))
    assert report.result.reason == "internal error: TypeError"


def test_an_error_that_cannot_be_described_is_reported(setup: WorkerSetup, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("pipelines.infer.cohort.workers.worker.describe", fault_of_ours)
    report = CaseWorker(setup, lambda *_: None).work(0, Entry("a", "nowhere"))
    assert report.result[:2] == ("read", "internal error: DataError")


@pytest.mark.slow
def test_an_error_that_nobody_can_tell_ends_the_worker_and_not_the_run(setup: WorkerSetup):
    ((_, failure),) = work(setup, Entry("a", None))  # not even the name of the case can be told
    assert failure.reason == "the worker ended: exit code 1"
    assert failure.advice == "please report it, with the traceback that --log-file keeps"


def test_a_worker_that_cannot_start_says_why(setup: WorkerSetup, tmp_path: Path):
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigError, match=r"workers cannot start: log file .* cannot be written: \w+"):
        work(setup._replace(log_file=tmp_path / "file" / "log"), Entry("a", "nowhere"))


def test_workers_write_to_the_log_file_and_the_run_ends_with_its_counts(
    cohort: CohortOptions, spoil, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    few = dataclasses.replace(cohort, input_dir=cohort.input_dir / "site 0")
    spoil(few.input_dir / "Zyxwvut 2")
    options = ["--input-dir", str(few.input_dir), "--output-dir", few.output_dir, "--checkpoint", str(few.checkpoint)]
    log = tmp_path / "cohort.log"
    arguments = ["infer", *options, "--device", "cpu", "--workers", "1", "--region", "full", "--log-file", str(log)]
    assert invoke(arguments) == 1
    lines = capsys.readouterr().err.splitlines()
    assert sum(line == "INFO     device: cpu, workers: 1, threads of each: 1" for line in lines) == 1
    assert lines[-2] == "INFO     2 cases done, 0 done before, 1 failed, see failed.csv"
    assert lines[-1] == f"INFO     results are in {few.output_dir}"
    written = log.read_text()
    for path in Path(few.output_dir).glob("case-*"):
        assert f"]: is {path.name}\n" in written
    assert "pipelines.infer.cohort.workers.worker [study 2]: unread-" in written
    assert "Zyxwvut" not in written
