from __future__ import annotations

from typing import Any

import pytest
import torch
from ignite.engine import Engine
from torch.testing import assert_close

from mose_med.errors import MoseError
from mose_med.handlers import MetricHandler
from mose_med.metrics import CalibrationError, class_shares, expert_entropy_split, pixel_flip_ratio, predictive_entropy
from mose_med.metrics.cumulative import (
    SET_SCORES,
    CalibrationMetric,
    DataSetMetric,
    EntropyMetric,
    ExpertEntropyMetric,
    PixelFlipMetric,
    SampleSetMetric,
)
from mose_med.samples import ExpertSamples, RaterMasks, WeightedSamples


def batch(seed: int, size: int, compact: bool = True) -> dict[str, Any]:
    generator = torch.Generator().manual_seed(seed)
    logits = torch.randn(size, 2, 3, 2, 8, 8, generator=generator)
    samples = ExpertSamples(logits, torch.randn(size, 2, generator=generator).softmax(dim=1))
    masks = torch.randint(0, 2, (size, 4, 8, 8), generator=generator)
    raters = RaterMasks(masks, torch.randn(size, 4, generator=generator).softmax(dim=1))
    return {"pred": samples if compact else samples.weighted(), "label": raters}


def run(metric: DataSetMetric, batches: list[dict[str, Any]], **settings: Any) -> Engine:
    engine = Engine(lambda engine, output: output)
    MetricHandler(metric, **settings).attach(engine, "score")
    engine.run(batches)
    return engine


def weighted(output: dict[str, Any]) -> WeightedSamples:
    samples: WeightedSamples = output["pred"].weighted()
    return samples


def marginal(output: dict[str, Any]) -> torch.Tensor:
    samples = weighted(output)
    return torch.einsum("bn,bnchw->bchw", samples.weights, samples.logits.softmax(dim=2))


@pytest.mark.parametrize("score", [name for name in SET_SCORES if name != "mode_ratio"])
def test_a_handler_gives_the_mean_of_the_function_over_images(score: str):
    batches = [batch(0, 3), batch(1, 1)]
    engine = run(SampleSetMetric(score), batches, save_details=True)
    single = torch.cat(
        [
            SET_SCORES[score](
                weighted(one)[0].argmax(2), one["label"].masks, weighted(one)[1], one["label"].weights, (1,)
            )
            for one in batches
        ]
    )
    assert engine.state.metrics["score"] == pytest.approx(single.mean().item(), abs=1e-6)
    assert_close(engine.state.metric_details["score"].flatten(), single)


def test_standard_and_compact_samples_score_alike():
    compact, standard = (run(SampleSetMetric(), [batch(2, 2, form)]).state.metrics["score"] for form in (True, False))
    assert compact == pytest.approx(standard)


def test_images_without_a_class_that_counts_are_left_out():
    counted, void = batch(0, 2), batch(1, 2)
    void["label"] = RaterMasks(torch.zeros_like(void["label"].masks), void["label"].weights)
    void["pred"].logits[:, :, :, 0] = 100.0  # every sample is background everywhere
    metric = SampleSetMetric(classes=(1, 2))
    found = [run(metric, batches).state.metrics["score"] for batches in ([counted], [counted, void])]
    assert found[0] == found[1] > 0
    with pytest.raises(MoseError, match="ged needs at least one image with a class that counts, got none"):
        run(metric, [void])


def test_a_second_run_starts_afresh():
    engine = Engine(lambda engine, output: output)
    MetricHandler(SampleSetMetric()).attach(engine, "score")
    engine.run([batch(5, 2)])
    engine.run([batch(6, 2)])
    assert engine.state.metrics["score"] == run(SampleSetMetric(), [batch(6, 2)]).state.metrics["score"]


@pytest.mark.parametrize("error", ["expected", "maximum"])
def test_calibration_is_of_the_marginal_against_the_raters_shares(error: str):
    batches, whole = [batch(7, 3), batch(8, 1)], CalibrationError()
    for one in batches:
        whole.update(marginal(one), class_shares(*one["label"]))
    found = run(CalibrationMetric(error=error), batches).state.metrics["score"]
    assert found == pytest.approx(getattr(whole.summary(), error), rel=1e-4)


def test_entropy_is_of_the_marginal():
    batches = [batch(9, 3), batch(10, 1)]
    expected = torch.cat([predictive_entropy(marginal(one)) for one in batches]).mean()
    assert run(EntropyMetric(), batches).state.metrics["score"] == pytest.approx(expected.item(), abs=1e-6)


def test_the_part_between_experts_is_of_their_mean_predictions():
    one = batch(11, 3)["pred"]
    expected = expert_entropy_split(one.logits.softmax(dim=3).mean(dim=2), one.expert_probs).between.mean()
    found = run(ExpertEntropyMetric("between"), [batch(11, 3)]).state.metrics["score"]
    assert found == pytest.approx(expected.item(), abs=1e-6)


def test_pixel_flips_are_of_the_marginal():
    one = batch(12, 2)
    original = one["label"].masks[:, 0]
    engine = run(PixelFlipMetric({0: 1}), [one], output_transform=lambda o: (o["pred"], o["label"].masks[:, 0]))
    expected = pixel_flip_ratio(marginal(one), original, {0: 1})[0]
    assert engine.state.metrics["score"] == pytest.approx(expected, abs=1e-6)
