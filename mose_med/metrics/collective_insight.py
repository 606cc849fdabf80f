"""Collective insight: one number for sensitivity, agreement and diversity compared with the raters.

Departure: the score's publications differ in how they measure the spread of a set; here it is the range of 1 - IoU over
pairs of different masks, and the three parts are joined by their harmonic mean. Compare it only with numbers of this
function.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from mose_med.metrics.dice import maximum_dice
from mose_med.metrics.iou import pairwise_iou
from mose_med.samples import checked_weights

__all__ = ["CollectiveInsight", "collective_insight"]


class CollectiveInsight(NamedTuple):
    """The score and its parts, each ``(B,)`` in [0, 1], or nan where no mask has any of several classes.

    Attributes:
        score: harmonic mean of the three.
        combined_sensitivity: share of what any rater marked that any prediction marks.
        maximum_dice: see :func:`~mose_med.metrics.maximum_dice`, raters counted equally.
        diversity_agreement: 1 minus the mean difference of the least and of the largest distance within the two sets.
    """

    score: Tensor
    combined_sensitivity: Tensor
    maximum_dice: Tensor
    diversity_agreement: Tensor


def collective_insight(
    masks: Tensor,
    rater_masks: Tensor,
    weights: Tensor | None = None,
    rater_weights: Tensor | None = None,
    classes: Sequence[int] = (1,),
) -> CollectiveInsight:
    """Collective insight of a set of predictions.

    Args:
        masks: predicted class maps, integers, shape ``(B, N, *spatial)``.
        rater_masks: annotated class maps, integers, shape ``(B, R, *spatial)``.
        weights: of the predictions, shape ``(B, N)``; only whether they are 0 matters.
        rater_weights: of the raters, shape ``(B, R)``; only whether they are 0 matters.
        classes: class ids that count; for the sensitivity, any of them.

    Returns:
        The score and its parts; the score is nan where no mask has any of several classes.

    Example:
        >>> masks = torch.tensor([[[1, 1, 0], [1, 0, 0]]])
        >>> collective_insight(masks, masks).score
        tensor([1.])
    """
    present = checked_weights(weights, masks, "weights") > 0
    raters_present = checked_weights(rater_weights, rater_masks, "rater_weights") > 0
    equal = raters_present / raters_present.sum(dim=1, keepdim=True)
    best = maximum_dice(masks, rater_masks, weights, equal, classes)
    sensitivity = _sensitivity(_union(masks, present, classes), _union(rater_masks, raters_present, classes))
    least, largest = _range(masks, present, classes)
    rater_least, rater_largest = _range(rater_masks, raters_present, classes)
    agreement = 1.0 - ((least - rater_least).abs() + (largest - rater_largest).abs()) / 2.0
    parts = torch.stack([sensitivity, best, agreement])
    score = torch.where((parts == 0).any(dim=0), 0.0, 3.0 / (1.0 / parts.clamp_min(1e-12)).sum(dim=0))
    return CollectiveInsight(score, sensitivity, best, agreement)


def _union(masks: Tensor, present: Tensor, classes: Sequence[int]) -> Tensor:
    counted = torch.isin(masks.flatten(start_dim=2), torch.tensor(list(classes), device=masks.device))
    return (counted & present.unsqueeze(2)).any(dim=1)


def _sensitivity(predicted: Tensor, marked: Tensor) -> Tensor:
    """Found share of what is marked; 1 where nothing is."""
    area = marked.sum(dim=1)
    return torch.where(area > 0, (predicted & marked).sum(dim=1) / area.clamp_min(1), 1.0)


def _range(masks: Tensor, present: Tensor, classes: Sequence[int]) -> tuple[Tensor, Tensor]:
    """Least and largest distance of two different masks of a set; 0 where there are not two."""
    distance = 1.0 - pairwise_iou(masks, masks, classes)
    pairs = present.unsqueeze(1) & present.unsqueeze(2) & ~distance.isnan()
    pairs &= ~torch.eye(masks.shape[1], dtype=torch.bool, device=masks.device)
    some = pairs.any(dim=(1, 2))
    least = torch.where(pairs, distance, torch.inf).amin(dim=(1, 2))
    largest = torch.where(pairs, distance, -torch.inf).amax(dim=(1, 2))
    return torch.where(some, least, 0.0), torch.where(some, largest, 0.0)
