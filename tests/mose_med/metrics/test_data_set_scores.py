from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.stats import norm

from mose_med.errors import ConfigError, ShapeError
from mose_med.metrics import mode_ratio, patient_bootstrap, pixel_flip_ratio
from mose_med.metrics.bootstrap import paired_bootstrap


def test_mode_ratio_of_the_modes_themselves_is_their_weights():
    modes = torch.eye(4, dtype=torch.long)[None]
    weights = torch.tensor([[0.1, 0.2, 0.3, 0.4]])
    torch.testing.assert_close(mode_ratio(modes, modes, weights), weights)


def test_mode_ratio_counts_a_pair_without_classes_as_equal():
    modes = torch.tensor([[[0, 0], [1, 2]]])
    torch.testing.assert_close(mode_ratio(modes, modes, classes=(1, 2)), torch.tensor([[0.5, 0.5]]))


def test_flip_ratio_is_the_mean_over_the_voxels_of_the_class():
    probs = torch.tensor([[[0.0, 0.0, 1.0], [0.5, 0.9, 0.0], [0.5, 0.1, 0.0]]])
    found = pixel_flip_ratio(probs, torch.tensor([[1, 1, 0]]), {1: 2, 2: 0})
    assert found[1] == pytest.approx(0.3)
    assert np.isnan(found[2])


def test_flip_ratio_names_what_does_not_fit():
    with pytest.raises(ShapeError, match=r"original must have shape \(1, 2\), got \(1, 3\)"):
        pixel_flip_ratio(torch.ones(1, 3, 2), torch.ones(1, 3), {1: 2})
    with pytest.raises(ShapeError, match="flips must map classes below 3, got 1: 7"):
        pixel_flip_ratio(torch.ones(1, 3, 2), torch.ones(1, 2), {1: 7})


def test_bootstrap_of_independent_images_is_near_the_normal_interval():
    values = np.random.default_rng(0).normal(0.3, 0.1, 400)
    interval = patient_bootstrap(values.tolist(), range(400), level=0.9)
    half = norm.ppf(0.95) * values.std() / 20
    assert interval.low == pytest.approx(values.mean() - half, abs=0.002)
    assert interval.high == pytest.approx(values.mean() + half, abs=0.002)


def test_images_of_one_patient_do_not_narrow_the_interval():
    values = np.random.default_rng(1).normal(0.3, 0.1, 40)
    alone = patient_bootstrap(values.tolist(), range(40))
    copied = patient_bootstrap(np.repeat(values, 10).tolist(), np.repeat(range(40), 10).tolist())
    assert copied == pytest.approx(alone)


def test_images_without_a_score_are_left_out():
    assert patient_bootstrap([0.5, float("nan")], ["a", "b"]) == (0.5, 0.5)


@pytest.mark.parametrize(
    ("arguments", "options", "message"),
    [
        (([0.1], ["a", "b"]), {}, "patients must be as many as values, 1, got 2"),
        (([float("nan")], ["a"]), {}, "values must hold at least one number, got none"),
        (([0.1], ["a"]), {"level": 1.0}, r"level must be in \(0, 1\), got 1.0"),
        (([0.1], ["a"]), {"resamples": 0}, "resamples must be >= 1, got 0"),
    ],
)
def test_bootstrap_names_what_does_not_fit(arguments, options: dict[str, float], message: str):
    with pytest.raises((ShapeError, ConfigError), match=message):
        patient_bootstrap(*arguments, **options)


@pytest.mark.parametrize(
    ("options", "message"),
    [({"level": 2.0}, r"level must be in \(0, 1\), got 2.0"), ({"resamples": 0}, "resamples must be >= 1, got 0")],
)
def test_paired_bootstrap_names_what_does_not_fit(options: dict[str, float], message: str):
    sums = np.ones((2, 2))
    with pytest.raises(ConfigError, match=message):
        paired_bootstrap(sums, sums, ["a", "b"], lambda found: found[:, 0] / found[:, 1], **options)
