"""How far a cohort is: on the terminal, with rate and remaining time."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from pipelines.console import stderr

__all__ = ["CohortProgress", "cohort_progress"]

#: Over which the rate is taken.
_RATE_WINDOW_S = 600.0


class CohortProgress:
    """Counts cases on a bar."""

    def __init__(self, bar: Progress, total: int) -> None:
        self._bar = bar
        self._task = bar.add_task("infer", total=total, failed=0, rate="")
        self._failed = 0

    def passed_over(self) -> None:
        """A case is done already, or failed before."""
        self._bar.update(self._task, advance=1)

    def finished(self, *, failed: bool) -> None:
        """A case is done or failed now."""
        self._failed += failed
        speed = self._bar.tasks[0].speed
        rate = "" if speed is None else f"{speed * 60:.1f} cases/min"
        self._bar.update(self._task, advance=1, failed=self._failed, rate=rate)


@contextmanager
def cohort_progress(total: int, *, quiet: bool) -> Iterator[CohortProgress]:
    """A bar on stderr: done of all, failed, cases a minute, elapsed and remaining time."""
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[failed]} failed"),
        TextColumn("{task.fields[rate]}"),
        TimeElapsedColumn(),
        TextColumn("remaining"),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=stderr, disable=quiet, speed_estimate_period=_RATE_WINDOW_S) as bar:
        yield CohortProgress(bar, total)
