"""The progress of a cohort on the terminal, with rate and remaining time."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta

from rich.progress import BarColumn, MofNCompleteColumn, Progress, ProgressColumn, Task, TextColumn, TimeElapsedColumn
from rich.table import Column
from rich.text import Text

from pipelines.common.command_line.console import stderr
from pipelines.infer.cohort.pace import Pace

__all__ = ["CohortProgress", "cohort_progress"]


_LOGGER = logging.getLogger(__name__)
#: How often the progress is logged, where no terminal shows the bar.
_LOG_EVERY_S = 60.0


class CohortProgress:
    """Counts cases on a bar, or in the log where there is no terminal."""

    def __init__(self, bar: Progress, pace: Pace, total: int) -> None:
        self._bar = bar
        self._pace = pace
        self._task = bar.add_task("infer", total=total, failed=0)
        self._failed = 0
        self._logged_at = time.monotonic()

    def skip(self) -> None:
        """A case is already done, or failed before."""
        self._bar.update(self._task, advance=1)

    def finished(self, *, failed: bool) -> None:
        """A case is done or failed now."""
        self._pace.count()
        self._failed += failed
        self._bar.update(self._task, advance=1, failed=self._failed)
        if not self._bar.console.is_terminal and time.monotonic() - self._logged_at >= _LOG_EVERY_S:
            self._logged_at = time.monotonic()
            _LOGGER.info("%s", self._words())

    def _words(self) -> str:
        task = self._bar.tasks[0]
        pace = pace_words(self._pace, int(task.remaining or 0))
        return f"{task.completed:.0f} of {task.total:.0f} cases, {self._failed} failed, {pace}"


class _PaceColumn(ProgressColumn):
    """Cases a minute, and how long the rest will take."""

    def __init__(self, pace: Pace) -> None:
        super().__init__(Column(no_wrap=True))
        self._pace = pace

    def render(self, task: Task) -> Text:
        """See :class:`rich.progress.ProgressColumn`."""
        return Text(pace_words(self._pace, int(task.remaining or 0)))


def pace_words(pace: Pace, remaining: int) -> str:
    """Rate and remaining time for the bar; empty while they are unknown."""
    rate, seconds = pace.per_minute(), pace.remaining_s(remaining)
    if rate is None or seconds is None:
        return ""
    return f"{rate:.{1 if rate < 100 else 0}f}/min, {timedelta(seconds=round(seconds))} left"


@contextmanager
def cohort_progress(total: int, *, quiet: bool) -> Iterator[CohortProgress]:
    """A bar on stderr: done of all, failed, elapsed time, cases a minute and remaining time."""
    pace = Pace()
    columns = (
        BarColumn(),
        MofNCompleteColumn(table_column=Column(no_wrap=True)),
        TextColumn("{task.fields[failed]} failed"),
        TimeElapsedColumn(Column(no_wrap=True)),
        _PaceColumn(pace),
    )
    with Progress(*columns, console=stderr, disable=quiet) as bar:
        yield CohortProgress(bar, pace, total)
