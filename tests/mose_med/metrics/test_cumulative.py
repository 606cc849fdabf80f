from __future__ import annotations

import pytest
import torch
from torch import Tensor
from torch.testing import assert_close

from mose_med.errors import ConfigError, MoseError
from mose_med.metrics import CalibrationError, expert_entropy_split, pixel_flip_ratio, predictive_entropy
from mose_med.metrics.cumulative import (
    SET_SCORES,
    CalibrationMetric,
    EntropyMetric,
    ExpertEntropyMetric,
    PixelFlipMetric,
    SampleSetMetric,
)


def batch(seed: int, size: int) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    masks = torch.randint(0, 3, (size, 5, 6, 6), generator=generator)
    raters = torch.randint(0, 3, (size, 3, 6, 6), generator=generator)
    weights = torch.randn(size, 5, generator=generator).softmax(dim=1)
    return masks, raters, weights, torch.randn(size, 3, generator=generator).softmax(dim=1)


def call(metric: SampleSetMetric, masks: Tensor, raters: Tensor, weights: Tensor, rater_weights: Tensor) -> Tensor:
    scores: Tensor = metric(masks, raters, weights=weights, rater_weights=rater_weights)
    return scores


@pytest.mark.parametrize("score", SET_SCORES)
@pytest.mark.parametrize("classes", [(1,), (1, 2)])
def test_the_mean_over_batches_is_that_of_the_function(score: str, classes: tuple[int, ...]):
    metric = SampleSetMetric(score, classes)
    batches = [batch(0, 3), batch(1, 1)]
    for one in batches:
        call(metric, *one)
    expected = torch.cat([SET_SCORES[score](*one, classes) for one in batches]).reshape(4, -1)
    assert_close(metric.get_buffer(), expected)
    assert_close(metric.aggregate("mean_batch"), expected.mean(dim=0))


def test_scores_without_weights_count_all_alike():
    masks, raters, *_ = batch(2, 2)
    assert_close(
        SampleSetMetric("matched_iou")(masks, raters),
        SET_SCORES["matched_iou"](masks, raters, None, None, (1,))[:, None],
    )


def test_images_of_different_numbers_of_raters_are_given_as_lists():
    metric = SampleSetMetric("ged")
    masks, raters, *_ = batch(3, 2)
    metric([masks[0], masks[1]], [raters[0], raters[1, :2]])
    ged = SET_SCORES["ged"]
    expected = [ged(masks[:1], raters[:1], None, None, (1,)), ged(masks[1:], raters[1:, :2], None, None, (1,))]
    assert_close(metric.aggregate("none").flatten(), torch.cat(expected))


def test_an_image_without_a_score_is_left_out_of_the_mean():
    metric = SampleSetMetric("ged", (1, 2))
    masks, raters, *_ = batch(4, 2)
    masks[1] = raters[1] = 0
    metric(masks, raters)
    assert_close(metric.aggregate(), SET_SCORES["ged"](masks[:1], raters[:1], None, None, (1, 2)))


def test_reset_forgets():
    metric = SampleSetMetric("ged")
    call(metric, *batch(5, 2))
    metric.reset()
    last = call(metric, *batch(6, 2))
    assert_close(metric.aggregate(), last.mean(dim=0))


@pytest.mark.parametrize(
    "metric", [SampleSetMetric(), EntropyMetric(), CalibrationMetric(), ExpertEntropyMetric(), PixelFlipMetric({1: 2})]
)
def test_no_image_at_all_is_refused(metric: SampleSetMetric):
    with pytest.raises(MoseError, match="Metric needs at least one image, got none: call it before aggregate"):
        metric.aggregate()


def random_probs(seed: int, size: int) -> Tensor:
    return torch.randn(size, 3, 6, 6, generator=torch.Generator().manual_seed(seed)).softmax(dim=1)


@pytest.mark.parametrize("error", ["expected", "average", "maximum"])
@pytest.mark.parametrize("settings", [{}, {"mode": "confidence", "num_bins": 5}])
def test_calibration_is_pooled_over_all_batches(error: str, settings: dict[str, object]):
    metric, whole = CalibrationMetric(error, **settings), CalibrationError(**settings)
    for seed in range(2):
        pair = random_probs(seed, 3), random_probs(seed + 2, 3)
        metric(*pair)
        whole.update(*pair)
    assert metric.aggregate().item() == pytest.approx(getattr(whole.summary(), error), rel=1e-5)
    metric.reset()
    assert metric.get_buffer() is None


def test_entropy_is_the_mean_over_images():
    metric = EntropyMetric()
    metric(random_probs(0, 2))
    metric(random_probs(1, 1))
    expected = predictive_entropy(torch.cat([random_probs(0, 2), random_probs(1, 1)])).mean()
    assert_close(metric.aggregate(), expected)


def test_unknown_names_are_refused():
    with pytest.raises(ConfigError, match=r"score must be one of ged, unbiased_ged, matched_iou, .*, got 'dice'"):
        SampleSetMetric("dice")
    with pytest.raises(ConfigError, match="error must be one of expected, average, maximum, got 'least'"):
        CalibrationMetric("least")
    with pytest.raises(ConfigError, match="num_bins must be >= 1, got 0"):
        CalibrationMetric(num_bins=0)
    with pytest.raises(ConfigError, match="part must be one of total, between, within, got 'beside'"):
        ExpertEntropyMetric("beside")
    with pytest.raises(ConfigError, match="flips must map at least one class, got none"):
        PixelFlipMetric({})


@pytest.mark.parametrize("part", ["total", "between", "within"])
def test_expert_entropy_is_the_mean_over_images(part: str):
    metric = ExpertEntropyMetric(part)
    means = random_probs(0, 6).view(3, 2, 3, 6, 6)
    probs = torch.tensor([[0.5, 0.5], [0.1, 0.9], [1.0, 0.0]])
    metric(means[:2], probs[:2])
    metric(means[2:], probs[2:])
    assert_close(metric.aggregate(), getattr(expert_entropy_split(means, probs), part).mean())


def test_pixel_flips_are_pooled_over_images():
    flips = {0: 2, 1: 2}
    metric = PixelFlipMetric(flips)
    probs, original = random_probs(1, 4), torch.randint(0, 2, (4, 6, 6), generator=torch.Generator().manual_seed(2))
    original[0] = 1
    metric(probs[:1], original[:1])
    metric(probs[1:], original[1:])
    expected = pixel_flip_ratio(probs, original, flips)
    assert_close(metric.aggregate(), torch.tensor([expected[0], expected[1]], dtype=torch.float64))


def test_the_unbiased_distance_of_a_set_to_a_copy_of_itself_is_below_zero():
    masks, *_ = batch(7, 1)
    assert SampleSetMetric("ged")(masks, masks.clone()).item() == pytest.approx(0, abs=1e-6)
    assert SampleSetMetric("unbiased_ged")(masks, masks.clone()).item() < -0.1
