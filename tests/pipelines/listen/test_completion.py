"""When a study has come whole."""

from __future__ import annotations

import pytest

from pipelines.listen.completion import Completion


class Connection:
    """An association that a test closes."""

    def __init__(self) -> None:
        self.open = True

    def is_alive(self) -> bool:
        return self.open


@pytest.fixture
def completion(hand_clock) -> Completion:
    """The rule with a quiet time of 10 s."""
    return Completion(10.0, hand_clock)


def test_a_study_is_complete_after_the_quiet_time_and_told_once(completion: Completion, hand_clock):
    completion.received("a")
    hand_clock.seconds = 9.0
    assert completion.take_complete() == []
    hand_clock.seconds = 10.0
    assert completion.take_complete() == ["a"]
    assert completion.take_complete() == []


def test_an_open_association_keeps_the_study_that_it_sends(completion: Completion, hand_clock):
    connection = Connection()
    completion.received("a", connection)
    hand_clock.seconds = 1000.0
    assert completion.take_complete() == []
    connection.open = False
    assert completion.take_complete() == []
    hand_clock.seconds = 1010.0
    assert completion.take_complete() == ["a"]


def test_a_study_that_comes_over_several_associations_is_one(completion: Completion, hand_clock):
    for second in range(0, 40, 8):
        connection = Connection()
        hand_clock.seconds = second
        completion.received("a", connection)
        connection.open = False
        assert completion.take_complete() == []
    hand_clock.seconds = 42.0
    assert completion.take_complete() == ["a"]


def test_associations_side_by_side_are_all_waited_for(completion: Completion, hand_clock):
    first, second = Connection(), Connection()
    completion.received("a", first)
    completion.received("a", second)
    first.open = False
    hand_clock.seconds = 50.0
    assert completion.take_complete() == []
    second.open = False
    completion.take_complete()
    hand_clock.seconds = 60.0
    assert completion.take_complete() == ["a"]


def test_an_association_that_goes_on_to_another_study_lets_the_first_go(completion: Completion, hand_clock):
    connection = Connection()
    completion.received("a", connection)
    completion.received("b", connection)
    hand_clock.seconds = 10.0
    assert completion.take_complete() == ["a"]


def test_more_of_a_study_makes_it_complete_again(completion: Completion, hand_clock):
    completion.received("a")
    hand_clock.seconds = 10.0
    assert completion.take_complete() == ["a"]
    completion.received("a")
    hand_clock.seconds = 20.0
    assert completion.take_complete() == ["a"]
