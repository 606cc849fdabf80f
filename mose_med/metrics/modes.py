"""Calibration of modes on data whose modes are known, such as the multimodal Cityscapes (appendix C.2 of the paper)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from mose_med.errors import ShapeError
from mose_med.metrics.iou import pairwise_iou
from mose_med.samples import checked_weights

__all__ = ["flip_sums", "mode_ratio", "pixel_flip_ratio"]


def mode_ratio(
    masks: Tensor, rater_masks: Tensor, weights: Tensor | None = None, classes: Sequence[int] = (1,)
) -> Tensor:
    """Share of the predictions that lie nearest to each mode.

    Args:
        masks: predicted class maps, integers, shape ``(B, N, *spatial)``.
        rater_masks: one class map per mode, shape ``(B, R, *spatial)``.
        weights: of the predictions, shape ``(B, N)``, rows summing to 1; None for 1/N.
        classes: class ids that count.

    Returns:
        Shares, shape ``(B, R)``, to compare with the modes' true probabilities; rows sum to 1. Ties go to the first
        mode, so that where no mask has any of several classes the first mode has all.

    Example:
        >>> modes = torch.tensor([[[1, 1, 0, 0], [0, 0, 1, 1]]])
        >>> mode_ratio(torch.tensor([[[1, 0, 0, 0], [0, 0, 1, 1], [0, 0, 0, 1]]]), modes)
        tensor([[0.3333, 0.6667]])
    """
    iou = pairwise_iou(masks, rater_masks, classes).nan_to_num(1.0)
    shares = checked_weights(weights, masks, "weights").float()
    return torch.zeros_like(iou[:, 0]).scatter_add_(1, iou.argmax(dim=2), shares)


def pixel_flip_ratio(probs: Tensor, original: Tensor, flips: Mapping[int, int]) -> dict[int, float]:
    """How often the voxels of a class are predicted as the class it may be flipped to.

    Args:
        probs: marginal class probabilities, shape ``(B, C, *spatial)``.
        original: class maps before any flip, integers, shape ``(B, *spatial)``.
        flips: flipped class by original class, ``{1: 20}`` for instance.

    Returns:
        For every original class the mean, over its voxels, of the flipped class's probability over that of both, to
        compare with the true flip probability; nan where the class is absent.

    Raises:
        ShapeError: if shapes differ or a class is out of range.

    Example:
        >>> pixel_flip_ratio(torch.tensor([[[0.0], [0.25], [0.75]]]), torch.tensor([[1]]), {1: 2})
        {1: 0.75}
    """
    totals, voxels = flip_sums(probs, original, flips).sum(dim=0).unbind(dim=1)
    return dict(zip(flips, (totals / voxels).tolist(), strict=True))


def flip_sums(probs: Tensor, original: Tensor, flips: Mapping[int, int]) -> Tensor:
    """What :func:`pixel_flip_ratio` divides, image by image, to be pooled over a data set.

    Returns:
        Shape ``(B, len(flips), 2)``, double precision: the ratios summed over the voxels of each original class, and
        how many voxels these are.

    Raises:
        ShapeError: if shapes differ or a class is out of range.
    """
    if probs.ndim < 2 or original.shape != (probs.shape[0], *probs.shape[2:]):
        raise ShapeError(f"original must have shape {(probs.shape[0], *probs.shape[2:])}, got {tuple(original.shape)}")
    columns = []
    for label, flipped in flips.items():
        if not 0 <= min(label, flipped) <= max(label, flipped) < probs.shape[1]:
            raise ShapeError(f"flips must map classes below {probs.shape[1]}, got {label}: {flipped}")
        inside = (original == label).flatten(1)
        kept, changed = probs[:, label].flatten(1).double(), probs[:, flipped].flatten(1).double()
        ratios = torch.where(inside, changed / (kept + changed).clamp_min(1e-12), 0.0)
        columns.append(torch.stack([ratios.sum(dim=1), inside.sum(dim=1)], dim=1))
    return torch.stack(columns, dim=1)
