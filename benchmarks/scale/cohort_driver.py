"""What the driver of a cohort spends on a case, apart from the workers: giving it out, the journal, the tables.

    python -m benchmarks.scale.cohort_driver --output benchmarks/results/cohort_driver.json

Studies are empty files, and workers answer at once: a case's folder has a ``provenance.json`` and a ``lesions.json`` of
usual size, written beforehand. Each count runs in a separate process, whose peak memory is reported. A step whose
time per case grows with the count is not linear.
"""

from __future__ import annotations

import argparse
import json
import math
import multiprocessing
import re
import shutil
import tempfile
import time
from collections.abc import Callable, Mapping
from hashlib import sha256
from pathlib import Path
from typing import Any

from benchmarks.machine import machine
from mose_med.io import Source
from pipelines.common.case_names import add_to_case_map
from pipelines.infer.case import CaseOutcome
from pipelines.infer.cohort.finding.entries import Entry, find_entries
from pipelines.infer.cohort.finding.fingerprint import fingerprint
from pipelines.infer.cohort.finding.plan import State, state_of
from pipelines.infer.cohort.journal import Journal, Record, failed_cases
from pipelines.infer.cohort.progress import cohort_progress
from pipelines.infer.cohort.workers.engine import Done, Engine, Event, Ready, Worker
from pipelines.infer.cohort.workers.scheduler import Scheduler
from pipelines.infer.cohort.workers.worker import Report
from pipelines.infer.store import open_store
from pipelines.infer.tables import write_tables

#: Three lesions of four experts and four samples each.
_LESION = {
    "lesion": 1,
    "nodule_id": "1",
    "position_mm": {"lps": [-101.2, 80.4, -120.0], "ras": [101.2, -80.4, -120.0]},
    "centroid_mm": {"lps": [-101.2, 80.4, -120.0], "ras": [101.2, -80.4, -120.0]},
    "in_consensus": True,
    "same_as_lesion": None,
    "touches_edge": False,
    "expert_probs": [0.25] * 4,
    "volume_ml": {"mean": 1.0, "p05": 0.5, "p50": 1.0, "p95": 1.5, "by_expert": [1.0] * 4, "samples": [[1.0] * 4] * 4},
    "p_empty": 0.1,
    "entropy": {"total": 0.4, "between": 0.1, "within": 0.3},
}
_LESIONS = json.dumps({"lesions": [_LESION | {"lesion": n} for n in (1, 2, 3)]}, indent=2)
_PROVENANCE = json.dumps({"versions": {}, "options": {}, "request": {}, "padding": "x" * 2000}, indent=2)
_SHA256 = sha256(_PROVENANCE.encode()).hexdigest()
_IN_FLIGHT = 3
_NO_LIMITS = {"case_timeout_s": None, "start_timeout_s": math.inf}


class InstantWorker(Worker):
    """Reports every case at once."""

    def __init__(self, events: list[Event]) -> None:
        self._events = events

    def begin(self, number: int, entry: Entry) -> None:
        """See :class:`Worker`."""
        outcome = CaseOutcome(case_of(entry), Source("nifti"), False, {}, _SHA256)
        self._events.append(Done(self, number, Report(outcome.case, fingerprint(entry), outcome)))

    def hung(self, limit_s: float) -> Mapping[int, str]:
        """See :class:`Worker`."""
        return {}

    def loading_s(self) -> float:
        """See :class:`Worker`."""
        return 0.0

    def stage(self, number: int) -> str:
        """See :class:`Worker`."""
        return "read"

    def kill(self) -> None:
        """See :class:`Worker`."""


class InstantEngine(Engine):
    """Has workers that take no time."""

    def __init__(self) -> None:
        self._events: list[Event] = []

    def start(self) -> Worker:
        """See :class:`Engine`."""
        worker = InstantWorker(self._events)
        self._events.append(Ready(worker))
        return worker

    def wait(self, timeout_s: float) -> list[Event]:
        """See :class:`Engine`."""
        events, self._events[:] = list(self._events), []
        return events

    def close(self) -> None:
        """See :class:`Engine`."""


def case_of(entry: Entry) -> str:
    return f"case-{sha256(entry.name.encode()).hexdigest()[:12]}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--counts", type=int, nargs="+", default=[5_000, 100_000], help="studies")
    parser.add_argument("--workers", type=int, default=8)
    parser.add_argument("--output", type=Path, help="JSON file of the results")
    options = parser.parse_args()
    results: dict[str, Any] = {"machine": machine(), "command": "python -m benchmarks.scale.cohort_driver", "runs": []}
    for count in options.counts:
        with multiprocessing.get_context("spawn").Pool(1) as pool:
            results["runs"].append(pool.apply(drive, (count, options.workers)))
    report(results["runs"])
    if options.output is not None:
        options.output.write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")


def drive(count: int, workers: int) -> dict[str, Any]:
    """Steps of a run over so many studies, in seconds, and the largest memory after each."""
    before = largest_mb()
    steps: list[dict[str, Any]] = []

    def step(name: str, run: Callable[[], Any]) -> Any:
        start = time.perf_counter()
        result = run()
        seconds = time.perf_counter() - start
        steps.append({"step": name, "seconds": round(seconds, 3), "added_mb": round(largest_mb() - before, 1)})
        return result

    with tempfile.TemporaryDirectory() as folder:
        studies, output = Path(folder) / "studies", Path(folder) / "out"
        make_studies(studies, count)
        entries = step("find studies", lambda: sorted(find_entries(studies)))
        make_cases(output, entries)
        store, journal = open_store(str(output)), Journal(output, "all")
        step("give out, journal, progress", lambda: give_out(entries, journal, workers))
        records = step("read the journal", journal.records)
        states = step(
            "find what is done", lambda: {state_of(e, records.get(e.key), store, retry_failed=False) for e in entries}
        )
        step("list the output", store.cases)
        step("write the tables", lambda: write_tables(store, failed_cases(journal.records().values())))
        rows = ((r.case, r.source, r.patient_id, r.study_uid, r.series_uid) for r in records.values())
        step("write the case map", lambda: add_to_case_map(output, rows))
        assert states == {State.DONE}
        journal_mb = sum(path.stat().st_size for path in output.glob("private/journal/*")) / 1e6
        table_mb = (output / "summary.csv").stat().st_size / 1e6
        start = time.perf_counter()
        shutil.rmtree(output)
        removal_s = time.perf_counter() - start
    return {
        "studies": count,
        "workers": workers,
        "steps": steps,
        "journal_mb": round(journal_mb, 2),
        "summary_mb": round(table_mb, 2),
        "removal_s": round(removal_s, 2),
    }


def give_out(entries: list[Entry], journal: Journal, workers: int) -> None:
    """What the driver does for every case, with the fingerprint that a worker would take."""
    scheduler = Scheduler(InstantEngine(), num_workers=workers, in_flight=_IN_FLIGHT, **_NO_LIMITS)
    with cohort_progress(len(entries), quiet=False) as progress:
        for entry, report in scheduler.run(iter(entries)):
            outcome = report.result
            journal.append(Record(entry.key, report.fingerprint, report.case, outcome.provenance_sha256, entry.source))
            progress.finished(failed=False)


def make_studies(root: Path, count: int) -> None:
    for n in range(count):
        study = root / f"site-{n % 100:02d}" / f"study-{n:06d}"
        study.mkdir(parents=True)
        (study / "ct.nii").touch()


def make_cases(output: Path, entries: list[Entry]) -> None:
    for entry in entries:
        folder = output / case_of(entry)
        folder.mkdir(parents=True)
        (folder / "lesions.json").write_text(_LESIONS)
        (folder / "provenance.json").write_text(_PROVENANCE)


def largest_mb() -> float:
    status = Path("/proc/self/status").read_text(encoding="ascii")
    return int(re.findall(r"VmHWM:\s*(\d+)", status)[0]) / 1024


def report(runs: list[dict[str, Any]]) -> None:
    print("| step |" + "".join(f" {run['studies']:,}: ms a case |" for run in runs) + "\n|---|" + "---|" * len(runs))
    for n, step in enumerate(runs[0]["steps"]):
        each = (1000 * run["steps"][n]["seconds"] / run["studies"] for run in runs)
        print(f"| {step['step']} |" + "".join(f" {value:.3f} |" for value in each))
    for run in runs:
        print(
            f"{run['studies']:,} studies: {run['steps'][-1]['added_mb']} MB of memory, journal {run['journal_mb']} MB, "
            f"summary.csv {run['summary_mb']} MB"
        )


if __name__ == "__main__":
    main()
