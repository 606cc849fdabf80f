"""``mose-med infer`` of many cases: find them, give them to workers, keep a journal, write the tables."""

from __future__ import annotations

import logging
import secrets
from collections import Counter
from collections.abc import Generator, Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, closing, nullcontext
from typing import Any, NamedTuple

from mose_med.errors import ConfigError
from mose_med.weights.files import weights_sha256
from pipelines.common.case_names import add_to_case_map, private_folder, write_private
from pipelines.common.command_line.console import named_log_file, stderr
from pipelines.common.runs.run_folder import remedy_for
from pipelines.infer.cohort.failures import Failure
from pipelines.infer.cohort.finding.entries import Entry
from pipelines.infer.cohort.finding.fingerprint import fingerprint
from pipelines.infer.cohort.finding.plan import State, list_entries, state_of
from pipelines.infer.cohort.journal import Journal, Record, failed_cases, known_records
from pipelines.infer.cohort.options import CohortOptions
from pipelines.infer.cohort.progress import CohortProgress, cohort_progress
from pipelines.infer.cohort.workers.messages import Report, WorkerSetup, fallback_case_name
from pipelines.infer.cohort.workers.preflight import preflight
from pipelines.infer.cohort.workers.resources import choose_engine
from pipelines.infer.cohort.workers.scheduler import Scheduler
from pipelines.infer.output import Output, claimed_output, require_key
from pipelines.infer.store import Destination, ResultStore, open_store
from pipelines.infer.tables import write_tables

__all__ = ["CohortResult", "CohortRun", "infer_cohort"]

_LOGGER = logging.getLogger(__name__)
#: Folder, in ``private/``, of the tracebacks of internal errors, one file per case.
_ERRORS_NAME = "errors"


class CohortResult(NamedTuple):
    """Numbers of cases; ``failed`` counts those of earlier runs that were not tried again."""

    done: int
    done_before: int
    failed: int
    to_do: int = 0


def infer_cohort(options: CohortOptions) -> CohortResult:
    """Infer every case of a folder or manifest; a case that cannot be inferred is recorded, and the rest continues.

    Raises:
        ConfigError: if an option is invalid, there is no case, the output holds results of other options, or no
            worker can start.
        DataError: if the checkpoint cannot be read.
    """
    options.check()
    with _shown(options, "finding cases"):
        entries = list_entries(options)
    if not entries:
        raise ConfigError(f"no cases in {options.manifest or options.input_dir}: name a folder with CT studies")
    without = sum(entry.nodules is None for entry in entries)
    if without:
        _LOGGER.info("%d of %d cases have no nodule list: --region says what is searched", without, len(entries))
    if options.dry_run:
        return _dry_run(options, entries, open_store(options.output_dir))
    device = options.device if options.engine == "local" else "cpu"
    with _shown(options, "checking the weights"):
        found = preflight(options.weights, device, options.start_timeout_s)
    made_with = options.folder_options(found.weights_sha256)
    with claimed_output(
        options.output_dir,
        options.home,
        made_with,
        overwrite=options.overwrite,
        accept_version=options.accept_version,
    ) as output:
        run = CohortRun(options, output, made_with)
        result = run.work(entries, found.devices)
        run.write_tables(entries)
    advice = ", see failed.csv" if result.failed else ""
    _LOGGER.info("%d cases done, %d done before, %d failed%s", result.done, result.done_before, result.failed, advice)
    _LOGGER.info("results are in %s", options.output_dir)
    return result


def _shown(options: CohortOptions, what: str) -> AbstractContextManager[object]:
    return nullcontext() if options.quiet else stderr.status(f"infer: {what}")


def _dry_run(options: CohortOptions, entries: list[Entry], store: ResultStore) -> CohortResult:
    made_with = options.folder_options(weights_sha256(options.weights))
    conflict = store.conflict(made_with, accept_version=options.accept_version)
    if conflict is None:
        require_key(store, options.home)
    elif not options.overwrite:
        raise ConfigError(f"output {conflict}: {remedy_for(conflict, options.accept_version)}")
    known = {} if conflict or options.overwrite else known_records(options.home, made_with)
    states = Counter(state_of(e, known.get(e.key), store, retry_failed=options.retry_failed) for e in entries)
    _LOGGER.info("%d cases: %s", len(entries), ", ".join(f"{states[state]} {state}" for state in State))
    return CohortResult(0, states[State.DONE], states[State.FAILED], states[State.TO_DO])


def _own_label(label: str, output: Output) -> str:
    """Name of a journal that no other run appends to."""
    return f"{label}-{secrets.token_hex(4)}" if output.runs.others() else label


class CohortRun:
    """One run over the cases of a cohort, in an output that it has claimed."""

    def __init__(self, options: CohortOptions, output: Output, made_with: Mapping[str, Any]) -> None:
        self._options = options
        self._output = output
        self._store = output.store
        self._destination = Destination(options.output_dir, output.key, options.overwrite, output.mark)
        self._label = "all" if options.shard is None else options.shard.replace("/", "-of-")
        self._journal = Journal(options.home, _own_label(self._label, output), made_with)
        self._known: Mapping[str, Record] = self._journal.records()
        self._counts: Counter[State | str] = Counter()

    def work(self, entries: list[Entry], devices: list[str]) -> CohortResult:
        """Do what is left to do; all of it where results may be overwritten."""
        if self._options.overwrite:
            self._withdraw(entries)
        with (
            cohort_progress(len(entries), quiet=self._options.quiet) as progress,
            closing(self.finished(self._left(entries, progress), devices, len(entries))) as finished,
        ):
            for _, record in finished:
                self._counts["failed" if record.failed else "done"] += 1
                progress.finished(failed=record.failed)
        failed = self._counts["failed"] + self._counts[State.FAILED]
        return CohortResult(self._counts["done"], self._counts[State.DONE], failed)

    def _withdraw(self, entries: list[Entry]) -> None:
        """Remove the cases of these entries and no others, so that a stopped run can be continued."""
        for record in (self._known.get(entry.key) for entry in entries):
            if record is not None and not record.failed:
                self._store.remove(record.case)
        self._known = {}

    def finished(
        self, entries: Iterator[Entry | None], devices: list[str], num_cases: int
    ) -> Generator[tuple[Entry, Record], None, None]:
        """Do cases, and yield the outcome of each once the journal has it.

        Args:
            entries: the cases; None where there is none yet.
            devices: of this machine.
            num_cases: of the run; no more workers than that are begun.
        """
        options = self._options
        engine, num_workers = choose_engine(options, self._setup(), devices, num_cases)
        scheduler = Scheduler(
            engine,
            num_workers=num_workers,
            in_flight=options.in_flight,
            case_timeout_s=options.case_timeout_s,
            start_timeout_s=options.start_timeout_s,
        )
        with closing(scheduler.run(entries)) as finished:
            for entry, report in finished:
                record = self._record(entry, report)
                self._journal.append(record)
                if record.failed:
                    _LOGGER.warning("%s failed in %s: %s", record.case, record.stage, record.reason)
                yield entry, record

    def write_tables(self, entries: list[Entry] | None = None) -> None:
        """Write the tables of the whole output, and the private map.

        Shards leave that to the last of them; where they cannot lock each other out, each writes tables of its own.

        Args:
            entries: of the run; None where they are not a folder's or a manifest's.
        """
        runs, shard = self._output.runs, self._options.shard
        if shard is not None and not runs.can_lock:
            known = self._journal.records()
            self._write([known[entry.key] for entry in entries or () if entry.key in known], f".shard-{self._label}")
            return
        with runs.leaving() as last:
            if last or shard is None:
                # A shard knows its own part of the entries alone.
                self._write(list(self._journal.records().values()), entries=entries if shard is None else None)

    def refresh_tables(self) -> None:
        """Write the tables of what is done so far, while the run continues."""
        with self._output.runs.locked():
            self._write(list(self._journal.records().values()))

    def _write(self, records: list[Record], suffix: str = "", entries: list[Entry] | None = None) -> None:
        own = {record.case for record in records} if suffix else None
        failed = failed_cases(records, entries, self._options.input_dir)
        write_tables(self._store, failed, cases=own, suffix=suffix)
        rows = ((r.case, r.source, r.patient_id, r.study_uid, r.series_uid) for r in records)
        with nullcontext() if self._output.map_runs is self._output.runs else self._output.map_runs.locked():
            add_to_case_map(self._options.home, rows, suffix)

    def _setup(self) -> WorkerSetup:
        options = self._options
        return WorkerSetup(
            options.weights.absolute(),
            options.device,
            options.threads,
            options.result_options(),
            self._destination,
            options.in_flight,
            named_log_file(),
        )

    def _left(self, entries: Iterable[Entry], progress: CohortProgress) -> Iterator[Entry]:
        for entry in entries:
            state = state_of(entry, self._known.get(entry.key), self._store, retry_failed=self._options.retry_failed)
            if state is State.TO_DO:
                yield entry
            else:
                self._counts[state] += 1
                progress.skip()

    def _record(self, entry: Entry, report: Report | Failure) -> Record:
        if isinstance(report, Failure):
            report = Report(fallback_case_name(entry, self._destination), fingerprint(entry), report)
        record = Record(entry.key, report.fingerprint, report.case, "", entry.source)
        record = record._replace(**report.result._asdict())
        return self._without_traceback(record) if "\n" in record.detail else record

    def _without_traceback(self, record: Record) -> Record:
        """The record, once the traceback that it holds is in a separate file."""
        folder = private_folder(self._options.home) / _ERRORS_NAME
        folder.mkdir(mode=0o700, exist_ok=True)
        write_private(folder / f"{record.case}.txt", record.detail)
        return record._replace(detail=record.detail.splitlines()[-1])
