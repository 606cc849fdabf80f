from __future__ import annotations

from pipelines.infer.cohort.workers.clock import CaseClock
from tests.fixtures.cohort import HandClock


def test_all_stages_of_a_case_count_together(hand_clock: HandClock):
    clock = CaseClock(hand_clock)
    for at_s, stage in ((0, "read"), (4, "infer"), (8, "write")):
        hand_clock.seconds = at_s
        clock.move(1, stage, waiting=False)
    hand_clock.seconds = 9.9
    assert clock.over(10) == {}
    hand_clock.seconds = 10.1
    assert clock.over(10) == {1: "write"}


def test_what_waits_behind_a_hung_case_is_not_to_blame(hand_clock: HandClock):
    clock = CaseClock(hand_clock)
    clock.move(1, "read", waiting=False)
    clock.move(2, "read", waiting=True)
    hand_clock.seconds = 100
    assert clock.over(10) == {1: "read"}
    clock.end(1)
    clock.move(2, "read", waiting=False)
    hand_clock.seconds = 109
    assert clock.over(10) == {}


def test_a_case_that_is_done_takes_no_more_time(hand_clock: HandClock):
    clock = CaseClock(hand_clock)
    clock.move(1, "read", waiting=False)
    clock.end(1)
    hand_clock.seconds = 100
    assert clock.over(10) == {}
