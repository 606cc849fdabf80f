from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mose_med.data import load_datalist
from pipelines.evaluate.run import COMPACT, EvaluateOptions, evaluate
from pipelines.models.comparison import Scoring, SliceScores, compare, score_model

BINS = 10


def scores(ged: list[float], gaps: list[float]) -> SliceScores:
    """Slices of 100 voxels in one bin each, whose predicted sum is off by ``gaps``."""
    totals = np.zeros((len(ged), 1 + 3 * BINS))
    totals[:, 0], totals[:, 1] = 100.0, 100.0
    totals[:, 1 + BINS], totals[:, 1 + 2 * BINS] = 50.0 + np.array(gaps), 50.0
    return SliceScores(np.array(ged), 1.0 - np.array(ged), totals)


PATIENTS = ["a", "a", "b", "c"]


def test_a_constant_change_has_an_interval_of_no_width():
    first = scores([0.5, 0.3, 0.2, 0.9], [0.0] * 4)
    found = compare(first, scores([0.4, 0.2, 0.1, 0.8], [5.0] * 4), PATIENTS, "test")
    assert found.ged.change == pytest.approx(-0.1)
    assert found.ged.interval == pytest.approx((-0.1, -0.1))
    assert found.matched_iou.change == pytest.approx(0.1)
    assert (found.ece_percent.champion, found.ece_percent.challenger) == (0.0, pytest.approx(5.0))
    assert found.ece_percent.interval == pytest.approx((5.0, 5.0))
    assert (found.images, found.patients) == (4, 3)


def test_pooled_errors_cancel_between_slices_as_they_do_in_the_ece():
    found = compare(scores([0.5] * 4, [0.0] * 4), scores([0.5] * 4, [4.0, -4.0, 4.0, -4.0]), PATIENTS, "test")
    assert found.ece_percent.challenger == 0.0
    assert found.ece_percent.interval.high > 0.0


@given(st.lists(st.floats(0, 2), min_size=4, max_size=4), st.lists(st.floats(0, 2), min_size=4, max_size=4))
def test_swapping_the_models_turns_the_change_round(first: list[float], second: list[float]):
    one, two = (scores(values, values) for values in (first, second))
    there, back = compare(one, two, PATIENTS, "test"), compare(two, one, PATIENTS, "test")
    for name in ("ged", "matched_iou", "ece_percent"):
        forward, backward = getattr(there, name), getattr(back, name)
        assert forward.change == pytest.approx(-backward.change)
        assert forward.interval == pytest.approx((-backward.interval.high, -backward.interval.low), abs=1e-9)


def test_slices_without_any_class_are_left_out_of_the_means():
    nan = float("nan")
    found = compare(scores([nan, 0.3, 0.2, 0.9], [0.0] * 4), scores([0.7, 0.3, 0.2, 0.9], [0.0] * 4), PATIENTS, "t")
    assert (found.ged.champion, found.ged.change) == (pytest.approx(1.4 / 3), 0.0)


def test_scores_are_those_of_mose_med_evaluate(tiny_datalist: Path, tiny_checkpoint: Path, tmp_path: Path):
    options = EvaluateOptions(tiny_datalist, tiny_checkpoint, tmp_path / "out", device="cpu", quiet=True)
    row = evaluate(options).row(COMPACT)
    found = score_model(tiny_checkpoint, "model", load_datalist(tiny_datalist), "test", Scoring(quiet=True))
    same = compare(found, found, [f"p{index}" for index in range(6)], "test")
    assert same.ged.champion == pytest.approx(row.ged.mean, abs=1e-5)
    assert same.matched_iou.champion == pytest.approx(row.matched_iou.mean, abs=1e-5)
    assert same.ece_percent.champion == pytest.approx(row.ece_percent.mean, abs=1e-4)
    assert same.ged.interval == same.ece_percent.interval == (0.0, 0.0)
