from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from mose_med.errors import ConfigError
from mose_med.losses import LinearSchedule, PlateauSchedule, Schedule, StepSchedule, warmed_up_weights

LOSSES = [1.0, 0.8, 0.8, 0.79999, 0.8, 0.7, 0.9, 0.9, 0.9, 0.9, 0.5]


def schedules() -> list[Schedule]:
    return [LinearSchedule(0.5, 1.0, 4), PlateauSchedule((0.5, 0.75, 1.0), patience=2), StepSchedule((0.0, 0.7), (4,))]


def test_linear_reaches_its_end_and_stays():
    schedule = LinearSchedule(1.0, 0.9, epochs=4)
    values = [schedule.value] + [schedule.step(0.0) for _ in range(6)]
    assert values == pytest.approx([1.0, 0.975, 0.95, 0.925, 0.9, 0.9, 0.9])


def test_linear_over_no_epochs_is_at_its_end():
    assert LinearSchedule(0.5, 1.0, 0).value == 1.0


def test_steps_begin_when_their_epochs_are_over():
    schedule = StepSchedule((0.0, 0.5, 0.7), epochs=(1, 3))
    assert [schedule.value] + [schedule.step(0.0) for _ in range(4)] == [0.0, 0.5, 0.5, 0.7, 0.7]


@pytest.mark.parametrize(
    ("values", "epochs", "message"),
    [
        ((0.0,), (1,), "values must be one more than epochs, got 1 and 1"),
        ((0.0, 0.5, 0.7), (3, 3), r"epochs must rise, got \(3, 3\)"),
    ],
)
def test_steps_that_do_not_fit_are_refused(values: tuple[float, ...], epochs: tuple[int, ...], message: str):
    with pytest.raises(ConfigError, match=message):
        StepSchedule(values, epochs)


def test_plateau_switches_after_more_than_patience_epochs():
    schedule = PlateauSchedule((0.5, 1.0), patience=10)
    values = [schedule.step(1.0) for _ in range(13)]
    assert values == [0.5] * 11 + [1.0] * 2


def test_an_improvement_below_the_threshold_is_none():
    schedule = PlateauSchedule((0.5, 1.0), patience=0, threshold=0.01)
    assert [schedule.step(loss) for loss in (1.0, 0.98, 0.975)] == [0.5, 0.5, 1.0]


def test_negative_losses_improve_too():
    schedule = PlateauSchedule((0.5, 1.0), patience=0)
    assert [schedule.step(loss) for loss in (-1.0, -1.1, -1.05)] == [0.5, 0.5, 1.0]


@pytest.mark.parametrize("index", range(3))
@pytest.mark.parametrize("stop", [0, 3, 7])
def test_a_restored_schedule_goes_on_alike(index: int, stop: int):
    whole, first, second = (schedules()[index] for _ in range(3))
    expected = [whole.step(loss) for loss in LOSSES]
    found = [first.step(loss) for loss in LOSSES[:stop]]
    second.load_state_dict(first.state_dict())
    assert found + [second.step(loss) for loss in LOSSES[stop:]] == expected


@settings(deadline=None)
@given(warmth=st.floats(0.0, 1.0))
def test_warming_weights_sum_to_one_and_keep_missing_raters_out(warmth: float):
    weights = torch.tensor([[0.7, 0.3, 0.0], [0.2, 0.3, 0.5]])
    found = warmed_up_weights(weights, warmth)
    torch.testing.assert_close(found.sum(dim=1), torch.ones(2))
    assert found[0, 2] == 0.0


def test_warm_weights_are_the_true_ones():
    weights = torch.tensor([[0.7, 0.3]])
    torch.testing.assert_close(warmed_up_weights(weights, 1.0), weights)
    torch.testing.assert_close(warmed_up_weights(weights, 0.0), torch.tensor([[0.5, 0.5]]))


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: LinearSchedule(0.5, 1.0, -1), "epochs must be >= 0, got -1"),
        (lambda: PlateauSchedule((), 1), "values must have at least one entry, got none"),
        (lambda: PlateauSchedule((1.0,), -1), "patience must be >= 0, got -1"),
        (lambda: PlateauSchedule((1.0,), 1, threshold=1.0), r"threshold must be in \[0, 1\), got 1.0"),
        (lambda: warmed_up_weights(torch.ones(1, 1), 2.0), r"rater_warmth must be in \[0, 1\], got 2.0"),
    ],
)
def test_wrong_arguments_are_named(build, message: str):
    with pytest.raises(ConfigError, match=message):
        build()
