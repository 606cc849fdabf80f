"""Dice scores of sets of masks: the best match, the best pairing, and of the mean maps.

Papers after MoSE report them, under the names D_max, Dice_max, Dice_match and Dice_soft.

Conventions are those of :mod:`mose_med.metrics.iou`: two empty masks agree, absent classes are left out (but by
:func:`soft_dice`, for which two empty cuts of a class agree). A mask of weight 0 is not there.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from mose_med.errors import ConfigError
from mose_med.metrics.iou import checked_overlap, mean_dice
from mose_med.metrics.matching import best_coupling
from mose_med.overlap import class_indicators
from mose_med.samples import checked_weights

__all__ = ["matched_dice", "maximum_dice", "soft_dice"]


def maximum_dice(
    masks: Tensor,
    rater_masks: Tensor,
    weights: Tensor | None = None,
    rater_weights: Tensor | None = None,
    classes: Sequence[int] = (1,),
) -> Tensor:
    r"""Mean over the raters of the best Dice any prediction reaches (D_max, maximum Dice matching).

    .. math:: D_{max} = \sum_j v_j \max_i \mathrm{Dice}(\hat y_i, y_j)

    Args:
        masks: predicted class maps, integers, shape ``(B, N, *spatial)``.
        rater_masks: annotated class maps, integers, shape ``(B, R, *spatial)``.
        weights: of the predictions, shape ``(B, N)``; only whether they are 0 matters.
        rater_weights: of the raters, shape ``(B, R)``, rows summing to 1; None for 1/R.
        classes: class ids that count.

    Returns:
        Score in [0, 1], shape ``(B,)``; it can only grow with the number of samples.

    Example:
        >>> masks = torch.tensor([[[1, 1, 0], [0, 0, 0]]])
        >>> maximum_dice(masks, torch.tensor([[[0, 0, 0], [0, 1, 1]]]))
        tensor([0.7500])
    """
    dice = mean_dice(checked_overlap(masks, rater_masks, classes))
    present = checked_weights(weights, masks, "weights") > 0
    demand = checked_weights(rater_weights, rater_masks, "rater_weights").double()
    best = torch.where(present.unsqueeze(2), dice.nan_to_num(-1.0), -1.0).amax(dim=1)
    counted = demand * (best >= 0)
    return ((best * counted).sum(dim=1) / counted.sum(dim=1)).float()


def matched_dice(
    masks: Tensor,
    rater_masks: Tensor,
    weights: Tensor | None = None,
    rater_weights: Tensor | None = None,
    classes: Sequence[int] = (1,),
) -> Tensor:
    """Best expected Dice over all couplings: :func:`~mose_med.metrics.matched_iou` with Dice in place of IoU.

    With as many equally weighted predictions as raters it is the Hungarian-matched Dice of the literature.

    Example:
        >>> masks = torch.tensor([[[1, 1, 0], [0, 0, 0]]])
        >>> matched_dice(masks, torch.tensor([[[0, 0, 0], [0, 1, 1]]]))
        tensor([0.7500])
    """
    dice = mean_dice(checked_overlap(masks, rater_masks, classes))
    rows = checked_weights(weights, masks, "weights")
    return best_coupling(dice, rows, checked_weights(rater_weights, rater_masks, "rater_weights"))


def soft_dice(
    masks: Tensor,
    rater_masks: Tensor,
    weights: Tensor | None = None,
    rater_weights: Tensor | None = None,
    classes: Sequence[int] = (1,),
    thresholds: Sequence[float] = (0.1, 0.3, 0.5, 0.7, 0.9),
) -> Tensor:
    """Dice of the mean prediction and the mean annotation, cut at the same threshold; mean over thresholds and classes.

    Args:
        masks: predicted class maps, integers, shape ``(B, N, *spatial)``.
        rater_masks: annotated class maps, integers, shape ``(B, R, *spatial)``.
        weights: of the predictions, shape ``(B, N)``, rows summing to 1; None for 1/N.
        rater_weights: of the raters, shape ``(B, R)``, rows summing to 1; None for 1/R.
        classes: class ids that count.
        thresholds: a voxel is in where its mean exceeds the threshold.

    Returns:
        Score in [0, 1], shape ``(B,)``; two empty cuts agree.

    Raises:
        ConfigError: if there is no threshold.

    Example:
        >>> raters = torch.tensor([[[1, 1, 0], [1, 0, 0]]])
        >>> soft_dice(raters, raters)
        tensor([1.])
    """
    if not thresholds:
        raise ConfigError("thresholds must have at least one entry, got none")
    checked_overlap(masks[:, :1], rater_masks[:, :1], classes)
    mean = _mean_maps(masks, checked_weights(weights, masks, "weights"), classes)
    rater_mean = _mean_maps(rater_masks, checked_weights(rater_weights, rater_masks, "rater_weights"), classes)
    scores = []
    for threshold in thresholds:
        cut, rater_cut = mean > threshold, rater_mean > threshold
        total = cut.sum(dim=2) + rater_cut.sum(dim=2)
        dice = 2.0 * (cut & rater_cut).sum(dim=2) / total.clamp_min(1)
        scores.append(torch.where(total > 0, dice, 1.0).mean(dim=1))
    return torch.stack(scores).mean(dim=0)


def _mean_maps(masks: Tensor, weights: Tensor, classes: Sequence[int]) -> Tensor:
    """Weighted share of the masks that hold each class, (B, C, P)."""
    shares = [
        (class_indicators(masks, (label,), torch.float32).squeeze(2) * weights.float().unsqueeze(2)).sum(dim=1)
        for label in classes
    ]
    return torch.stack(shares, dim=1)
