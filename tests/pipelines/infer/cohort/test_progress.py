from __future__ import annotations

import io
import logging
from collections.abc import Callable

import pytest
from rich.console import Console
from rich.text import Text

from pipelines.common.command_line.console import configure_logging
from pipelines.infer.cohort import progress
from pipelines.infer.cohort.pace import Pace
from pipelines.infer.cohort.progress import cohort_progress, pace_words
from tests.fixtures.cohort import HandClock


def finish(pace: Pace, hand_clock: HandClock, cases: int, every_s: float) -> None:
    for _ in range(cases):
        hand_clock.seconds += every_s
        pace.count()


def test_the_rate_counts_from_the_start_of_the_run(hand_clock: HandClock):
    pace = Pace(hand_clock)
    assert pace.per_minute() is pace.remaining_s(10) is None
    finish(pace, hand_clock, cases=2, every_s=15)
    assert pace.per_minute() == 4
    assert pace.remaining_s(10) == 150


def test_cases_that_end_at_once_make_no_absurd_rate(hand_clock: HandClock):
    pace = Pace(hand_clock)
    hand_clock.seconds = 30
    finish(pace, hand_clock, cases=2, every_s=0)
    assert pace.per_minute() == 4


def test_the_rate_follows_the_last_minutes(hand_clock: HandClock):
    pace = Pace(hand_clock)
    finish(pace, hand_clock, cases=600, every_s=1)
    finish(pace, hand_clock, cases=60, every_s=60)
    assert pace.per_minute() == pytest.approx(1, rel=0.11)


def test_remaining_time_is_told_in_hours_and_minutes(hand_clock: HandClock):
    pace = Pace(hand_clock)
    assert pace_words(pace, 7) == ""
    finish(pace, hand_clock, cases=3, every_s=10)
    assert pace_words(pace, 1000) == "6.0/min, 2:46:40 left"


@pytest.fixture
def screen(monkeypatch: pytest.MonkeyPatch, hand_clock: HandClock) -> Callable[..., io.StringIO]:
    """Function that puts a terminal, or a file, in place of stderr."""

    def put(width: int, *, terminal: bool = True) -> io.StringIO:
        shown = io.StringIO()
        console = Console(file=shown, width=width, force_terminal=terminal)
        monkeypatch.setattr(progress, "stderr", console)
        monkeypatch.setattr(progress, "Pace", lambda: Pace(hand_clock))
        monkeypatch.setattr("pipelines.common.command_line.console.stderr", console)
        return shown

    return put


def run_through(cases: int, hand_clock: HandClock, *, quiet: bool = False) -> None:
    configure_logging(quiet=quiet, log_file=None, debug=False)
    with cohort_progress(10 * cases, quiet=quiet) as shown:
        for n in range(cases):
            hand_clock.seconds += 6
            shown.finished(failed=n == 0)
    logging.getLogger("pipelines.infer.cohort.run").warning("case-1 failed in read: no CT")


@pytest.mark.parametrize("width", [60, 80, 120])
def test_the_bar_keeps_to_one_line(screen, hand_clock: HandClock, width: int):
    shown = screen(width)
    run_through(1234, hand_clock)
    bar = Text.from_ansi(shown.getvalue().splitlines()[-2]).plain
    assert len(bar) <= width
    assert "1234/12340 1 failed" in bar
    assert bar.endswith("10.0/min, 18:30:36 left")


def test_in_a_file_the_log_tells_now_and_then(screen, hand_clock: HandClock, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(progress, "_LOG_EVERY_S", 0.0)
    shown = screen(80, terminal=False)
    run_through(3, hand_clock)
    assert "INFO 2 of 30 cases, 1 failed, 10.0/min, 0:02:48 left" in " ".join(shown.getvalue().split())


def test_in_a_file_there_is_one_bar_at_the_end_of_progress_and_with_quiet_none(screen, hand_clock: HandClock):
    shown = screen(80, terminal=False)
    run_through(3, hand_clock)
    assert shown.getvalue().count("3/30") == 1
    shown = screen(80, terminal=False)
    run_through(3, hand_clock, quiet=True)
    assert shown.getvalue().split() == ["WARNING", "case-1", "failed", "in", "read:", "no", "CT"]
