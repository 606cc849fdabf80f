from __future__ import annotations

import pytest
import torch
from ignite.engine import Engine
from torch.testing import assert_close

from mose_med.errors import MoseError
from mose_med.handlers import GedMetric
from mose_med.metrics import generalized_energy_distance
from mose_med.samples import ExpertSamples, RaterMasks


def batch(seed: int, size: int) -> dict[str, tuple[torch.Tensor, ...]]:
    generator = torch.Generator().manual_seed(seed)
    logits = torch.randn(size, 2, 3, 2, 8, 8, generator=generator)
    probs = torch.softmax(torch.randn(size, 2, generator=generator), dim=1)
    masks = torch.randint(0, 2, (size, 4, 8, 8), generator=generator)
    weights = torch.softmax(torch.randn(size, 4, generator=generator), dim=1)
    return {"pred": ExpertSamples(logits, probs), "label": RaterMasks(masks, weights)}


def test_it_is_the_mean_over_images_of_all_batches():
    batches = [batch(0, 3), batch(1, 1)]
    engine = Engine(lambda engine, output: output)
    GedMetric().attach(engine, "ged")
    engine.run(batches)
    single = [
        generalized_energy_distance(
            b["pred"].weighted().logits.argmax(2), b["label"].masks, b["pred"].weighted().weights, b["label"].weights
        )
        for b in batches
    ]
    assert_close(engine.state.metrics["ged"], torch.cat(single).mean().item(), atol=1e-5, rtol=0)


def test_images_without_a_class_that_counts_are_left_out():
    counted, void = batch(0, 2), batch(1, 2)
    void["label"] = RaterMasks(torch.zeros_like(void["label"].masks), void["label"].weights)
    void["pred"].logits[:, :, :, 0] = 100.0  # every sample is background everywhere
    found = []
    for batches in ([counted], [counted, void], [void, counted]):
        engine = Engine(lambda engine, output: output)
        GedMetric(classes=(1, 2)).attach(engine, "ged")
        engine.run(batches)
        found.append(engine.state.metrics["ged"])
    assert found[0] == found[1] == found[2] > 0


def test_samples_in_the_standard_form_are_scored_alike():
    compact = batch(0, 3)
    found = []
    for samples in (compact["pred"], compact["pred"].weighted()):
        metric = GedMetric()
        metric.update((samples, compact["label"]))
        found.append(metric.compute())
    assert found[0] == found[1] > 0


def test_no_image_at_all_is_refused():
    with pytest.raises(MoseError, match="GED needs at least one validation image"):
        GedMetric().compute()
