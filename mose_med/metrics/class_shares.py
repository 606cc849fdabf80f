"""Shares of the classes among masks, voxel by voxel."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from mose_med.samples import checked_weights

__all__ = ["class_shares"]


def class_shares(masks: Tensor, weights: Tensor | None = None, classes: Sequence[int] = (1,)) -> Tensor:
    """Weighted share of a set of masks that gives each voxel each class: the probabilities to calibrate.

    Args:
        masks: class maps, integers, shape ``(B, N, *spatial)``.
        weights: shape ``(B, N)``, rows summing to 1; None for 1/N.
        classes: class ids that count; everything else is the first channel of the result.

    Returns:
        Shares, shape ``(B, 1 + len(classes), *spatial)``, single precision.

    Raises:
        ShapeError: if the weights do not fit.

    Example:
        >>> class_shares(torch.tensor([[[1, 0], [1, 1]]]))
        tensor([[[0.0000, 0.5000],
                 [1.0000, 0.5000]]])
    """
    rows = checked_weights(weights, masks, "weights").float()[(...,) + (None,) * (masks.ndim - 2)]
    shares = torch.stack([((masks == label) * rows).sum(dim=1) for label in classes], dim=1).clamp(max=1.0)
    rest = (1.0 - shares.sum(dim=1, keepdim=True)).clamp_min(0.0)
    return torch.cat([rest, shares], dim=1)
