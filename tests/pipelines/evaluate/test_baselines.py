from __future__ import annotations

from typing import Any

import pytest
import torch

from mose_med.metrics import generalized_energy_distance
from mose_med.samples import RaterMasks
from pipelines.evaluate.baselines import best_constant_prediction, rater_probs


def batches(masks: list[list[list[int]]], weights: list[list[float]]) -> list[dict[str, Any]]:
    label = torch.tensor(masks)[:, :, None]
    return [
        {"label": label[i : i + 2], "rater_weights": torch.tensor(weights)[i : i + 2]} for i in range(0, len(masks), 2)
    ]


def random_part(seed: int, classes: int = 2) -> list[dict[str, Any]]:
    generator = torch.Generator().manual_seed(seed)
    label = torch.randint(0, classes, (6, 3, 4, 4), generator=generator)
    label[:, :, 1:3, 1:3] = classes - 1
    weights = torch.rand(6, 3, generator=generator)
    return [{"label": label, "rater_weights": weights / weights.sum(dim=1, keepdim=True)}]


def test_probabilities_are_the_mean_share_of_the_raters():
    part = batches([[[1, 0], [1, 1]], [[0, 0], [1, 0]], [[0, 0], [0, 0]]], [[0.5, 0.5], [0.25, 0.75], [1.0, 0.0]])
    found = best_constant_prediction(lambda: part, 2).probs[1]
    torch.testing.assert_close(found, torch.tensor([[(1.0 + 0.75 + 0.0) / 3, (0.5 + 0.0 + 0.0) / 3]]))


@pytest.mark.parametrize("seed", range(3))
def test_no_threshold_has_a_lower_ged_in_training(seed: int):
    part = random_part(seed)
    raters, weights = part[0]["label"], part[0]["rater_weights"]
    constant = best_constant_prediction(lambda: part, 2)

    def ged(mask: torch.Tensor) -> float:
        return generalized_energy_distance(mask.expand(6, 1, 4, 4), raters, None, weights).mean().item()

    thresholds = [*constant.probs[1].unique().tolist(), 2.0]
    assert ged(constant.mask.long()) <= min(ged((constant.probs[1] >= t).long()) for t in thresholds) + 1e-6


def test_predicting_nothing_is_best_where_nothing_is_marked():
    constant = best_constant_prediction(lambda: batches([[[0, 0]], [[0, 0]], [[0, 1]]], [[1.0]] * 3), 2)
    assert constant.threshold == float("inf")
    assert not constant.mask.any()


def test_several_classes_are_told_apart():
    constant = best_constant_prediction(lambda: random_part(0, classes=3), 3)
    assert (constant.mask[1:3, 1:3] == 2).all()


def test_rater_shares_sum_to_one():
    part = random_part(1, classes=3)[0]
    shares = rater_probs(RaterMasks(part["label"], part["rater_weights"]), 3)
    torch.testing.assert_close(shares.sum(dim=1), torch.ones(6, 4, 4))
