"""The same work on many cases, in this process or in several, with the broken ones skipped where that is wanted."""

from __future__ import annotations

import multiprocessing
import tempfile
from collections.abc import Callable, Generator, Mapping
from concurrent.futures import ProcessPoolExecutor, as_completed
from contextlib import closing
from typing import TypeVar

from mose_med.errors import ConfigError
from pipelines.common.command_line.console import named_log_file
from pipelines.common.processes import begin_process, spawn_context
from pipelines.common.runs.termination import end_children
from pipelines.prepare.failures import Failures
from pipelines.prepare.folder import progress_bar

__all__ = ["run_cases"]

Case = TypeVar("Case")
#: Name of a case, and what finishes it or raises its error.
Attempt = tuple[str, Callable[[], None]]


def run_cases(
    work: Callable[[Case], None],
    cases: Mapping[str, Case],
    failures: Failures,
    *,
    description: str,
    jobs: int = 1,
    quiet: bool = False,
) -> None:
    """Do ``work`` on every case.

    Args:
        work: picklable if ``jobs`` is more than 1; what it writes must not depend on the order of the cases.
        cases: by name, in the order they are begun.
        failures: records a case that cannot be used, or raises its error.
        description: beside the progress bar.
        jobs: processes; 1 works in this one.
        quiet: no progress bar.

    Raises:
        ConfigError: if ``jobs`` is out of range.
        DataError: if a case cannot be used and the command may not continue.
    """
    if jobs < 1:
        raise ConfigError(f"jobs must be >= 1, got {jobs}")
    attempts = _here(work, cases) if jobs == 1 or len(cases) < 2 else _in_processes(work, cases, jobs)
    with closing(attempts), progress_bar(quiet) as progress:
        for name, finish in progress.track(attempts, total=len(cases), description=description):
            with failures.case(name):
                finish()


def _here(work: Callable[[Case], None], cases: Mapping[str, Case]) -> Generator[Attempt, None, None]:
    for name, case in cases.items():
        yield name, lambda case=case: work(case)  # type: ignore[misc]


def _in_processes(work: Callable[[Case], None], cases: Mapping[str, Case], jobs: int) -> Generator[Attempt, None, None]:
    others = multiprocessing.active_children()
    with tempfile.TemporaryDirectory(prefix="mose-med-") as scratch:
        pool = ProcessPoolExecutor(
            min(jobs, len(cases)), spawn_context(), initializer=begin_process, initargs=(scratch, named_log_file())
        )
        try:
            names = {pool.submit(work, case): name for name, case in cases.items()}
            for future in as_completed(names):
                yield names[future], future.result
        except BaseException:
            end_children(but=others)
            raise
        finally:
            pool.shutdown(cancel_futures=True)
