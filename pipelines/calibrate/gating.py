"""Effect of the temperature of the gating: the weights of the samples, and so GED and M-IoU.

The hard masks stay as they are at any temperature, so their distances are computed once.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn

from mose_med.metrics.energy_distance import mask_distances, weighted_energy_distance
from mose_med.metrics.matching import best_coupling
from mose_med.networks.encoded import EncodedImages
from mose_med.networks.temperature import temper
from mose_med.samples import RaterMasks
from pipelines.calibrate.grid import TEMPERATURES
from pipelines.evaluate.prediction import SampleSet
from pipelines.evaluate.scored_data import CountedClasses

__all__ = ["GatingScores", "expert_probs_by_temperature", "gating_scores", "within_experts"]


class GatingScores(NamedTuple):
    """Scores of B images at each of T temperatures, (T, B); nan where an image has none of the classes."""

    ged: Tensor
    matched_iou: Tensor


def expert_probs_by_temperature(gating: nn.Module | None, images: EncodedImages) -> Tensor:
    """Expert probabilities at each of :data:`TEMPERATURES`, (T, B, K); the network is left at temperature 1.

    Args:
        gating: what is tempered; None for a network without experts.
        images: of the network.
    """
    if gating is None:
        return images.expert_probs().expand(len(TEMPERATURES), -1, -1)
    probs = []
    for value in TEMPERATURES:
        temper(gating, value)
        probs.append(images.expert_probs())
    temper(gating, 1.0)
    return torch.stack(probs)


def within_experts(weights: Tensor, num_experts: int) -> Tensor:
    """Share of each sample in its expert, (B, K, S), from weights of all samples (B, K S), expert by expert.

    An expert whose probability is 0 in single precision has equal shares.

    Example:
        >>> within_experts(torch.tensor([[0.25, 0.25, 0.125, 0.375]]), 2)
        tensor([[[0.5000, 0.5000],
                 [0.2500, 0.7500]]])
    """
    by_expert = weights.view(len(weights), num_experts, -1)
    total = by_expert.sum(dim=2, keepdim=True)
    return torch.where(total > 0, by_expert / total, 1.0 / by_expert.shape[2])


def gating_scores(
    samples: SampleSet, expert_probs: Tensor, raters: RaterMasks, counted: CountedClasses
) -> GatingScores:
    """Score a batch at every temperature.

    Args:
        samples: in the compact form, at any temperature.
        expert_probs: (T, B, K).
        raters: of the batch.
        counted: classes that the scores are about.
    """
    within = within_experts(samples.weights, expert_probs.shape[2])
    distances = mask_distances(samples.masks, raters.masks, counted.regions)
    geds, ious = [], []
    for probs in expert_probs:
        weights = (within * probs.unsqueeze(2)).flatten(1)
        geds.append(weighted_energy_distance(distances, weights, raters.weights))
        ious.append(best_coupling(1.0 - distances.cross, weights, raters.weights))
    return GatingScores(torch.stack(geds).cpu(), torch.stack(ious).cpu())
