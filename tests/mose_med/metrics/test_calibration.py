from __future__ import annotations

import numpy as np
import pytest
import torch
from monai.metrics.calibration import calibration_binning

from mose_med.errors import ConfigError, ShapeError
from mose_med.metrics import CalibrationError, class_shares


def random_probs(seed: int, classes: int = 2) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    probs, rater_probs = (3 * torch.randn(2, 3, classes, 8, 8, generator=generator)).softmax(dim=2)
    return probs, rater_probs


def ece_oracle(predicted: np.ndarray, observed: np.ndarray, voxels: int, bins: int = 10) -> float:
    total = 0.0
    for index in range(bins):
        inside = (predicted > np.float32(index / bins)) & (predicted <= np.float32((index + 1) / bins))
        if inside.any():
            total += inside.sum() / voxels * abs(predicted[inside].mean() - observed[inside].mean())
    return 100.0 * total


@pytest.mark.parametrize("bins", [1, 10, 15])
def test_foreground_equals_a_loop_over_bins(bins: int):
    probs, rater_probs = random_probs(0)
    error = CalibrationError(num_bins=bins)
    error.update(probs, rater_probs)
    predicted, observed = probs[:, 1].flatten().numpy(), rater_probs[:, 1].flatten().numpy()
    assert error.compute() == pytest.approx(ece_oracle(predicted, observed, predicted.size, bins), rel=1e-5)


@pytest.mark.parametrize("classes", [None, (1, 3)])
def test_confidence_equals_a_loop_over_bins(classes: tuple[int, ...] | None):
    probs, rater_probs = random_probs(1, classes=4)
    error = CalibrationError(mode="confidence", classes=classes)
    error.update(probs, rater_probs)
    flat, truth = (tensor.movedim(1, -1).reshape(-1, 4).numpy() for tensor in (probs, rater_probs))
    likeliest = flat.argmax(axis=1)
    kept = np.isin(likeliest, range(4) if classes is None else classes)
    rows = np.arange(len(flat))
    expected = ece_oracle(flat.max(axis=1)[kept], truth[rows, likeliest][kept], len(flat))
    assert error.compute() == pytest.approx(expected, rel=1e-5)


def test_a_stream_of_batches_equals_one_batch():
    probs, rater_probs = random_probs(2)
    whole, stream = CalibrationError(), CalibrationError()
    whole.update(probs, rater_probs)
    for image in range(3):
        stream.update(probs[image : image + 1], rater_probs[image : image + 1])
    assert stream.compute() == pytest.approx(whole.compute())


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_bins_exclude_their_low_edge_and_zero_falls_in_none(dtype: torch.dtype):
    foreground = torch.tensor([[[0.0, 0.1, 0.2, 0.3, 0.7, 1.0]]], dtype=dtype)
    probs = torch.cat([1 - foreground, foreground], dim=1)
    error = CalibrationError()
    error.update(probs, probs)
    filled = (error.reliability().share * 6).round().tolist()
    assert filled == [1, 1, 1, 0, 0, 0, 1, 0, 0, 1]


def test_zero_probability_counts_in_the_denominator():
    foreground = torch.tensor([[[0.0, 0.0, 0.0, 0.8]]])
    probs = torch.cat([1 - foreground, foreground], dim=1)
    rater_probs = torch.tensor([[[1.0, 1.0, 1.0, 0.0], [0.0, 0.0, 0.0, 1.0]]])
    error = CalibrationError()
    error.update(probs, rater_probs)
    assert error.compute() == pytest.approx(100 * 0.2 / 4)


def test_a_perfect_forecast_has_no_error():
    probs, _ = random_probs(3)
    error = CalibrationError()
    error.update(probs, probs)
    assert error.compute() == pytest.approx(0.0)


def test_average_and_maximum_are_over_the_bins_that_hold_voxels():
    foreground = torch.tensor([[[0.25, 0.25, 0.25, 0.75]]])
    truth = torch.tensor([[[0.25, 0.25, 0.25, 0.35]]])
    error = CalibrationError()
    error.update(torch.cat([1 - foreground, foreground], dim=1), torch.cat([1 - truth, truth], dim=1))
    assert error.summary() == pytest.approx((10.0, 20.0, 40.0), rel=1e-5)


def test_reset_forgets():
    error = CalibrationError()
    error.update(*random_probs(4))
    error.reset()
    with pytest.raises(ConfigError, match="calibration needs voxels: call update before compute"):
        error.compute()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"num_bins": 0}, "num_bins must be >= 1, got 0"),
        ({"mode": "other"}, "mode must be one of foreground, confidence, got 'other'"),
        ({"classes": (1,)}, "classes belong to mode 'confidence'"),
    ],
)
def test_wrong_arguments_are_named(arguments: dict[str, object], message: str):
    with pytest.raises(ConfigError, match=message):
        CalibrationError(**arguments)


@pytest.mark.parametrize(
    ("probs", "rater_probs", "message"),
    [
        (
            torch.ones(1, 2, 3),
            torch.ones(1, 2, 4),
            r"rater_probs must have the shape of probs \(1, 2, 3\), got \(1, 2, 4\)",
        ),
        (torch.ones(1, 1, 3), torch.ones(1, 1, 3), r"with C >= 2, got \(1, 1, 3\)"),
        (torch.full((1, 2, 3), 1.5), torch.ones(1, 2, 3), r"probs must be in \[0, 1\], got 1\.5 to 1\.5"),
        (torch.ones(1, 2, 3), torch.full((1, 2, 3), torch.nan), r"rater_probs must be in \[0, 1\], got nan"),
    ],
)
def test_wrong_probabilities_are_named(probs: torch.Tensor, rater_probs: torch.Tensor, message: str):
    with pytest.raises(ShapeError, match=message):
        CalibrationError().update(probs, rater_probs)


def test_bins_are_those_of_monai_where_no_probability_is_zero():
    generator = torch.Generator().manual_seed(11)
    probs = torch.rand(1, 1, 500, generator=generator).clamp_min(0.01)
    shares = torch.randint(0, 5, (1, 1, 500), generator=generator) / 4
    error = CalibrationError()
    error.update(torch.cat([1 - probs, probs], dim=1), torch.cat([1 - shares, shares], dim=1))
    table = error.reliability()
    for found, expected in zip(
        (table.probability, table.frequency, table.share * 500),
        calibration_binning(probs, shares, num_bins=10),
        strict=True,
    ):
        torch.testing.assert_close(found, expected[0, 0].double(), rtol=1e-5, atol=1e-6)


def test_totals_of_two_parts_add_up_to_the_whole():
    probs, shares = (torch.rand(2, 3, 20, generator=torch.Generator().manual_seed(s)).softmax(dim=1) for s in (12, 13))
    whole, sums, part = CalibrationError(), CalibrationError(), CalibrationError()
    whole.update(probs, shares)
    for row in range(2):
        part.reset()
        part.update(probs[row : row + 1], shares[row : row + 1])
        sums.add_totals(part.totals)
    assert sums.compute() == pytest.approx(whole.compute())
    with pytest.raises(ShapeError, match=r"totals must have shape \(31,\), got \(4,\)"):
        whole.add_totals(torch.zeros(4))


def test_shares_of_classes_sum_to_one():
    masks = torch.randint(0, 4, (2, 3, 5), generator=torch.Generator().manual_seed(14))
    shares = class_shares(masks, torch.tensor([[0.2, 0.3, 0.5]] * 2), (1, 2))
    assert shares.shape == (2, 3, 5)
    torch.testing.assert_close(shares.sum(dim=1), torch.ones(2, 5))
    torch.testing.assert_close(shares[0, 2], ((masks[0] == 2) * torch.tensor([0.2, 0.3, 0.5])[:, None]).sum(dim=0))


def test_a_class_without_a_channel_is_named():
    error = CalibrationError(mode="confidence", classes=(1, 5))
    with pytest.raises(ConfigError, match="classes must be < 3, the channels of probs, got 5"):
        error.update(torch.full((1, 3, 2), 1 / 3), torch.full((1, 3, 2), 1 / 3))


@pytest.mark.parametrize("classes", [(), (-1, 2)])
def test_classes_that_are_none_are_named(classes: tuple[int, ...]):
    with pytest.raises(ConfigError, match="classes must be ids >= 0, at least one, got"):
        CalibrationError(mode="confidence", classes=classes)
