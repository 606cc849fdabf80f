r"""Energy distance of soft samples and raters: what the GED measures, as a loss.

.. math:: D^2 = 2 \sum_{ij} u_i v_j\, d(s_i, y_j) - \sum_{ij} u_i u_j\, d(s_i, s_j) - \sum_{ij} v_i v_j\, d(y_i, y_j)

Unlike the transport, it rewards samples for differing from each other as much as the raters do, and gives the weights
their true gradient. The distance has to be a metric on soft masks with d(p, p) = 0, or blurred samples would win: it is
the Jaccard metric :math:`d(p, q) = 1 - \frac{\sum \min(p, q) + \epsilon}{\sum \max(p, q) + \epsilon}` (Wang et al.,
"Jaccard metric losses", NeurIPS 2023), mean over the classes.

Conventions: two empty masks have d = 0, also without smoothing. A pair of samples of one expert stands for two
independent draws: with ``fair``, a sample is not paired with itself, and the other pairs of its expert make up for it.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from mose_med.overlap import class_indicators, soft_overlap
from mose_med.samples import RaterMasks, WeightedSamples

__all__ = ["energy_distance"]


def energy_distance(
    samples: WeightedSamples,
    raters: RaterMasks,
    *,
    samples_per_expert: int = 1,
    smoothing: float = 1.0,
    fair: bool = True,
    classes: tuple[int, ...] | None = None,
) -> Tensor:
    """Squared energy distance of each image.

    Args:
        samples: logits (B, N, C, *spatial) and weights (B, N); samples of an expert stand side by side and have equal
            weights.
        raters: masks (B, R, *spatial) and weights (B, R).
        samples_per_expert: S, how many samples in a row are of one expert.
        smoothing: voxels added to both sums of the Jaccard index.
        fair: leave self-pairs out, which only experts with S > 1 can make up for.
        classes: class ids that count; None for all but the background.

    Returns:
        The distance, shape (B,), in single precision or better. Without smoothing, of hard samples and not ``fair``, it
        is :func:`mose_med.metrics.generalized_energy_distance` to rounding.
    """
    logits = samples.logits if samples.logits.dtype == torch.float64 else samples.logits.float()
    labels = tuple(range(1, logits.shape[2])) if classes is None else classes
    probs = logits.softmax(dim=2).flatten(start_dim=3)[:, :, list(labels)]
    masks = class_indicators(raters.masks, labels, probs.dtype)
    u, v = samples.weights.to(probs.dtype), raters.weights.to(probs.dtype)
    across = soft_overlap(probs, masks)
    cross = _distance(across.intersection, across.total, smoothing)
    drawn = soft_overlap(masks, masks)
    between_raters = _distance(drawn.intersection, drawn.total, smoothing)
    least = torch.stack([_least(probs[:, :, c]) for c in range(len(labels))], dim=1)
    areas = probs.sum(dim=3).transpose(1, 2)
    between_samples = _distance(least, areas.unsqueeze(3) + areas.unsqueeze(2), smoothing)
    pairs = u.unsqueeze(2) * u.unsqueeze(1)
    if fair and samples_per_expert > 1:
        pairs = pairs * _fair_factors(pairs.shape[1], samples_per_expert, pairs)
    return (
        2.0 * (u.unsqueeze(2) * v.unsqueeze(1) * cross).sum(dim=(1, 2))
        - (pairs * between_samples).sum(dim=(1, 2))
        - (v.unsqueeze(2) * v.unsqueeze(1) * between_raters).sum(dim=(1, 2))
    )


def _distance(intersection: Tensor, total: Tensor, smoothing: float) -> Tensor:
    """Jaccard distance (B, N, M), mean over the classes, of sums of minima (B, C, N, M) and of both areas."""
    union = total - intersection
    both_empty = union + smoothing <= 0
    index = (intersection + smoothing) / torch.where(both_empty, 1.0, union + smoothing)
    return 1.0 - torch.where(both_empty, 1.0, index).mean(dim=1)


def _fair_factors(number: int, of_expert: int, like: Tensor) -> Tensor:
    """Factor of every pair of samples (N, N): S / (S - 1) within an expert, 1 across experts.

    A self-pair has distance 0, so that its factor does not matter.
    """
    expert = torch.arange(number, device=like.device) // of_expert
    same = expert.unsqueeze(1) == expert.unsqueeze(0)
    return torch.where(same, of_expert / (of_expert - 1), 1.0).to(like.dtype)


def _least(probs: Tensor) -> Tensor:
    sums: Tensor = _PairwiseMinimum.apply(probs)  # type: ignore[no-untyped-call]
    return sums


class _PairwiseMinimum(torch.autograd.Function):
    r"""Sums over the voxels of the smaller of two soft masks, for every pair: (B, N, P) -> (B, N, N).

    One row of pairs at a time, forward and backward, so that memory grows with N and not with its square. Where both
    are equal each gets half of the gradient.
    """

    @staticmethod
    def forward(ctx: Any, probs: Tensor) -> Tensor:
        ctx.save_for_backward(probs)
        sums = probs.new_empty(probs.shape[0], probs.shape[1], probs.shape[1])
        for row in range(probs.shape[1]):
            shared = torch.minimum(probs[:, row : row + 1], probs[:, row:]).sum(dim=2)
            sums[:, row, row:] = shared
            sums[:, row:, row] = shared
        return sums

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> Tensor:
        (probs,) = ctx.saved_tensors
        both_ways = grad + grad.transpose(1, 2)
        result = torch.empty_like(probs)
        for row in range(probs.shape[1]):
            own = probs[:, row : row + 1]
            share = torch.heaviside(probs - own, probs.new_tensor(0.5))
            result[:, row] = torch.bmm(both_ways[:, row : row + 1], share).squeeze(1)
        return result
