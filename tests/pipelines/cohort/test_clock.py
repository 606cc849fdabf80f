from __future__ import annotations

import pytest

from pipelines.cohort.clock import CaseClock


class Time:
    """A clock that is set by hand."""

    def __init__(self) -> None:
        self.seconds = 0.0

    def __call__(self) -> float:
        return self.seconds


@pytest.fixture
def time() -> Time:
    return Time()


def test_all_stages_of_a_case_count_together(time: Time):
    clock = CaseClock(time)
    for at_s, stage in ((0, "read"), (4, "infer"), (8, "write")):
        time.seconds = at_s
        clock.move(1, stage, waiting=False)
    time.seconds = 9.9
    assert clock.over(10) == {}
    time.seconds = 10.1
    assert clock.over(10) == {1: "write"}


def test_what_waits_behind_a_hung_case_is_not_to_blame(time: Time):
    clock = CaseClock(time)
    clock.move(1, "read", waiting=False)
    clock.move(2, "read", waiting=True)
    time.seconds = 100
    assert clock.over(10) == {1: "read"}
    clock.end(1)
    clock.move(2, "read", waiting=False)
    time.seconds = 109
    assert clock.over(10) == {}


def test_a_case_that_is_done_takes_no_more_time(time: Time):
    clock = CaseClock(time)
    clock.move(1, "read", waiting=False)
    clock.end(1)
    time.seconds = 100
    assert clock.over(10) == {}
