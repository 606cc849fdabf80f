"""``mose-med infer`` of many cases: find them, give them to workers, keep a journal, write the tables."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, nullcontext
from typing import NamedTuple

from mose_med.errors import ConfigError
from pipelines.case_names import add_to_case_map, case_key
from pipelines.cohort.entries import Entry
from pipelines.cohort.failures import Failure
from pipelines.cohort.fingerprint import fingerprint
from pipelines.cohort.journal import Journal, Record, failed_cases, known_records
from pipelines.cohort.lock import shared_run
from pipelines.cohort.messages import Report, WorkerSetup, nameless_case
from pipelines.cohort.options import CohortOptions
from pipelines.cohort.plan import State, list_entries, state_of
from pipelines.cohort.preflight import preflight
from pipelines.cohort.progress import CohortProgress, cohort_progress
from pipelines.cohort.resources import choose_engine
from pipelines.cohort.scheduler import Scheduler
from pipelines.console import stderr
from pipelines.evaluation.weights import weights_sha256
from pipelines.inference.store import Destination, ResultStore, open_store
from pipelines.inference.tables import write_tables

__all__ = ["CohortResult", "infer_cohort"]

_LOGGER = logging.getLogger(__name__)


class CohortResult(NamedTuple):
    """Numbers of cases; ``failed`` counts those of earlier runs that were not tried again."""

    done: int
    done_before: int
    failed: int
    to_do: int = 0


def infer_cohort(options: CohortOptions) -> CohortResult:
    """Infer every case of a folder or manifest; a case that cannot be inferred is recorded, and the rest goes on.

    Raises:
        ConfigError: if an option does not fit, there is no case, the output holds results of other options, or no
            worker can start.
        DataError: if the checkpoint cannot be read.
    """
    options.check()
    with _shown(options, "finding cases"):
        entries = list_entries(options)
    if not entries:
        raise ConfigError(f"no case in {options.manifest or options.input_dir}: name a folder with CT studies")
    store = open_store(options.output_dir)
    if options.dry_run:
        return _dry_run(options, entries, store)
    device = options.device if options.engine == "local" else "cpu"
    with _shown(options, "trying the weights"):
        found = preflight(options.weights, device, options.start_timeout_s)
    store.claim(options.folder_options(found.weights_sha256), overwrite=options.overwrite)
    destination = Destination(options.output_dir, case_key(options.home), options.overwrite)
    with shared_run(options.home, store) as is_last:
        run = _Run(options, destination, store)
        result = run.work(entries, found.devices)
        if is_last():
            run.write_tables()
    return result


def _shown(options: CohortOptions, what: str) -> AbstractContextManager[object]:
    return nullcontext() if options.quiet else stderr.status(f"infer: {what}")


def _dry_run(options: CohortOptions, entries: list[Entry], store: ResultStore) -> CohortResult:
    conflict = store.conflict(options.folder_options(weights_sha256(options.weights)))
    if conflict is not None and not options.overwrite:
        raise ConfigError(f"output {conflict}: name another or add --overwrite")
    known = {} if conflict else known_records(options.home)
    states = Counter(state_of(e, known.get(e.key), store, retry_failed=options.retry_failed) for e in entries)
    _LOGGER.info("%d cases: %s", len(entries), ", ".join(f"{states[state]} {state}" for state in State))
    without = sum(entry.nodules is None for entry in entries)
    if without:
        _LOGGER.info("%d of them have no nodule list", without)
    return CohortResult(0, states[State.DONE], states[State.FAILED], states[State.TO_DO])


class _Run:
    """One run over the cases of a cohort."""

    def __init__(self, options: CohortOptions, destination: Destination, store: ResultStore) -> None:
        self._options = options
        self._destination = destination
        self._store = store
        label = "all" if options.shard is None else options.shard.replace("/", "-of-")
        self._journal = Journal(options.home, label)
        self._known: Mapping[str, Record] = self._journal.records()
        self._counts: Counter[State | str] = Counter()

    def work(self, entries: list[Entry], devices: list[str]) -> CohortResult:
        """Do what is left to do."""
        options = self._options
        engine, num_workers = choose_engine(options, self._setup(), devices, len(entries))
        scheduler = Scheduler(
            engine,
            num_workers=num_workers,
            in_flight=options.in_flight,
            case_timeout_s=options.case_timeout_s,
            start_timeout_s=options.start_timeout_s,
        )
        with cohort_progress(len(entries), quiet=options.quiet) as progress:
            for entry, report in scheduler.run(self._left(entries, progress)):
                record = self._record(entry, report)
                self._journal.append(record)
                self._counts["failed" if record.failed else "done"] += 1
                progress.finished(failed=record.failed)
                if record.failed:
                    _LOGGER.warning("%s failed in %s: %s", record.case, record.stage, record.reason)
        failed = self._counts["failed"] + self._counts[State.FAILED]
        return CohortResult(self._counts["done"], self._counts[State.DONE], failed)

    def write_tables(self) -> None:
        """Write the tables of the whole output, and the private map."""
        write_tables(self._store, failed_cases(self._options.home))
        records = self._journal.records().values()
        rows = ((r.case, r.source, r.patient_id, r.study_uid, r.series_uid) for r in records)
        add_to_case_map(self._options.home, rows)

    def _setup(self) -> WorkerSetup:
        options = self._options
        return WorkerSetup(
            options.weights.absolute(),
            options.device,
            options.threads,
            options.result_options(),
            self._destination,
            options.in_flight,
        )

    def _left(self, entries: Iterable[Entry], progress: CohortProgress) -> Iterator[Entry]:
        for entry in entries:
            state = state_of(entry, self._known.get(entry.key), self._store, retry_failed=self._options.retry_failed)
            if state is State.TO_DO:
                yield entry
            else:
                self._counts[state] += 1
                progress.passed_over()

    def _record(self, entry: Entry, report: Report | Failure) -> Record:
        if isinstance(report, Failure):
            report = Report(nameless_case(entry, self._destination), fingerprint(entry), report)
        record = Record(entry.key, report.fingerprint, report.case, "", entry.source)
        return record._replace(**report.result._asdict())
