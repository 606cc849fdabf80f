"""Likelihood of whole masks, summed over the voxels in single precision, also under autocast."""

from __future__ import annotations

import torch
from torch import Tensor

from mose_med.losses.costs import cross_entropy_cost
from mose_med.samples import RaterMasks

__all__ = ["drawn_rater", "log_likelihoods"]


def log_likelihoods(logits: Tensor, masks: Tensor, ignore_index: int | None = None) -> Tensor:
    r"""Log-probability of every mask under every sample, voxels being independent given the sample.

    .. math:: \log p(y \mid \eta) = \sum_p \log \mathrm{softmax}(\eta_p)_{y_p}

    Args:
        logits: shape (B, N, C, \*spatial).
        masks: integer class maps, shape (B, R, \*spatial).
        ignore_index: label of voxels that do not count.

    Returns:
        Nats, shape (B, N, R), in single precision or better.

    Example:
        >>> log_likelihoods(torch.zeros(1, 1, 2, 4, 4), torch.zeros(1, 3, 4, 4, dtype=torch.long))
        tensor([[[-11.0904, -11.0904, -11.0904]]])
    """
    with torch.autocast(logits.device.type, enabled=False):
        mean = cross_entropy_cost(logits, masks, ignore_index=ignore_index)
        counted = torch.ones_like(masks) if ignore_index is None else masks != ignore_index
        return -mean * counted.flatten(2).sum(dim=2).unsqueeze(1)


def drawn_rater(raters: RaterMasks, generator: torch.Generator | None = None) -> Tensor:
    """Index (B,) of one rater of every image, drawn by weight, on the raters' device, without waiting for it."""
    uniform = torch.rand(len(raters.weights), 1, generator=generator).to(raters.weights.device)
    below = raters.weights.cumsum(dim=1)
    last_present = (below < below[:, -1:]).sum(dim=1)
    return (below <= uniform * below[:, -1:]).sum(dim=1).minimum(last_present)
