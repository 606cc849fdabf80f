"""IoU of every mask of one set with every mask of another, the base of all metrics on sets of segmentations.

Conventions: masks are hard, integer class maps after the argmax. With one class, two empty masks agree: IoU 1. With
several, a class that both masks lack is left out of that pair's mean, and a pair with none of the classes is nan, which
means: left out.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from mose_med.errors import ConfigError, ShapeError
from mose_med.overlap import Overlap, hard_overlap

__all__ = ["check_masks", "checked_overlap", "mean_dice", "mean_iou", "pairwise_iou"]


def pairwise_iou(a: Tensor, b: Tensor, classes: Sequence[int] = (1,)) -> Tensor:
    """IoU of every pair, averaged over the classes.

    Args:
        a: integer class maps, shape ``(B, N, *spatial)``, any number of spatial axes.
        b: integer class maps, shape ``(B, M, *spatial)``.
        classes: class ids that count.

    Returns:
        IoU in [0, 1], shape ``(B, N, M)``, single precision; nan for a pair without any of several classes.

    Raises:
        ShapeError: if shapes differ, or masks are not integers >= 0.
        ConfigError: if ``classes`` is empty, repeats a class, or holds one that is negative or that the masks' type
            cannot hold.

    Example:
        >>> pairwise_iou(torch.tensor([[[1, 1, 0], [0, 0, 0]]]), torch.tensor([[[0, 1, 1], [0, 0, 0]]]))
        tensor([[[0.3333, 0.0000],
                 [0.0000, 1.0000]]])
    """
    return mean_iou(checked_overlap(a, b, classes, names=("a", "b"))).float()


def checked_overlap(
    a: Tensor, b: Tensor, classes: Sequence[int], names: tuple[str, str] = ("masks", "rater_masks")
) -> Overlap:
    """Pairwise voxel counts of two sets of masks, after :func:`check_masks`."""
    check_masks(a, b, classes, names)
    return hard_overlap(a, b, classes)


def check_masks(
    a: Tensor, b: Tensor, classes: Sequence[int], names: tuple[str, str] = ("masks", "rater_masks")
) -> None:
    """Refuse two sets of masks that cannot be compared; ``names`` are for the messages.

    Raises:
        ShapeError: if shapes differ, or masks are not integers >= 0.
        ConfigError: if ``classes`` is empty, repeats a class, or holds one that is negative or that the masks' type
            cannot hold.
    """
    for name, masks in zip(names, (a, b), strict=True):
        if masks.is_floating_point() or masks.is_complex():
            raise ShapeError(f"{name} must be integer class maps, got {masks.dtype}: take the argmax first")
        if masks.ndim < 3 or masks.shape[1] == 0:
            raise ShapeError(f"{name} must have shape (B, N, *spatial) with N >= 1, got {tuple(masks.shape)}")
    if a.shape[0] != b.shape[0] or a.shape[2:] != b.shape[2:]:
        raise ShapeError(f"{names[1]} must fit {names[0]} of shape {tuple(a.shape)}, got {tuple(b.shape)}")
    if not classes or min(classes) < 0 or len(set(classes)) != len(classes):
        raise ConfigError(f"classes must be different ids >= 0, at least one, got {tuple(classes)}")
    for name, masks in zip(names, (a, b), strict=True):
        _check_ids(masks, classes, name)


def _check_ids(masks: Tensor, classes: Sequence[int], name: str) -> None:
    """Ids are checked on the CPU only: on an accelerator the check would wait for the device."""
    largest = 1 if masks.dtype == torch.bool else torch.iinfo(masks.dtype).max
    if max(classes) > largest:
        raise ConfigError(f"classes must be ids that {name} of {masks.dtype} can hold, got {max(classes)} > {largest}")
    if masks.dtype.is_signed and masks.device.type == "cpu" and masks.numel() and (least := int(masks.min())) < 0:
        raise ShapeError(f"{name} must hold class ids >= 0, got {least}")


def mean_iou(overlap: Overlap) -> Tensor:
    """IoU by pair in double precision, (B, N, M), under the conventions of this module."""
    return _class_mean(overlap.intersection / overlap.union.clamp_min(1.0), present=overlap.union > 0)


def mean_dice(overlap: Overlap) -> Tensor:
    """Dice by pair in double precision, (B, N, M), under the conventions of this module."""
    return _class_mean(2.0 * overlap.intersection / overlap.total.clamp_min(1.0), present=overlap.union > 0)


def _class_mean(scores: Tensor, present: Tensor) -> Tensor:
    if scores.shape[1] == 1:
        return torch.where(present, scores, 1.0).squeeze(1)
    return torch.where(present, scores, torch.nan).nanmean(dim=1)
