"""Sets of segmentations with their probabilities, as passed between network, loss and metrics.

Axes: B batch, K experts, S samples per expert, N samples in all, R raters, C classes. Samples are kept as logits; N
runs expert-major, ``n = k S + s`` (the order of the MoSE release).
"""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor

from mose_med.errors import ShapeError

__all__ = [
    "WEIGHTS_TOLERANCE",
    "ExpertSamples",
    "ExpertUsage",
    "RaterMasks",
    "WeightedSamples",
    "checked_weights",
    "usage_from_probs",
    "weighted_form",
]

#: How far a row of weights may be from summing to 1.
WEIGHTS_TOLERANCE = 1e-3


class WeightedSamples(NamedTuple):
    """Samples in the standard form: ``logits`` (B, N, C, *spatial) and their ``weights`` (B, N), rows summing to 1."""

    logits: Tensor
    weights: Tensor


class ExpertSamples(NamedTuple):
    """Samples in the compact form: ``logits`` (B, K, S, C, *spatial) and ``expert_probs`` (B, K), rows summing to 1."""

    logits: Tensor
    expert_probs: Tensor

    def weighted(self) -> WeightedSamples:
        """Flatten to N = K S samples of weight ``expert_probs / S`` each (section 3.2.2 of the paper).

        Example:
            >>> import torch
            >>> compact = ExpertSamples(torch.zeros(1, 2, 3, 2, 4, 4), torch.tensor([[0.25, 0.75]]))
            >>> compact.weighted().weights
            tensor([[0.0833, 0.0833, 0.0833, 0.2500, 0.2500, 0.2500]])
        """
        samples = self.logits.shape[2]
        weights = (self.expert_probs / samples).repeat_interleave(samples, dim=1)
        return WeightedSamples(self.logits.flatten(1, 2), weights)


def weighted_form(samples: ExpertSamples | WeightedSamples) -> WeightedSamples:
    """Samples of either form as weighted ones."""
    return samples.weighted() if isinstance(samples, ExpertSamples) else samples


class RaterMasks(NamedTuple):
    """Annotations: integer ``masks`` (B, R, *spatial) and ``weights`` (B, R); weight 0 means the rater is missing."""

    masks: Tensor
    weights: Tensor


class ExpertUsage(NamedTuple):
    """Use of the experts over a data set.

    ``mean_probs`` (K,) is the mean gating probability, ``top_share`` (K,) the share of images for which the expert is
    the most probable one, ``effective_experts`` the exponential of the entropy of ``mean_probs``: K if all are used
    alike.
    """

    mean_probs: Tensor
    top_share: Tensor
    effective_experts: float


def usage_from_probs(expert_probs: Tensor) -> ExpertUsage:
    """How much each expert is used, from its probability for every image of a data set.

    Args:
        expert_probs: shape (B, K), rows summing to 1.

    Raises:
        ShapeError: if there is no image.

    Example:
        >>> import torch
        >>> round(usage_from_probs(torch.tensor([[0.5, 0.5, 0.0], [0.5, 0.5, 0.0]])).effective_experts, 3)
        2.0
    """
    if expert_probs.ndim != 2 or len(expert_probs) == 0:
        raise ShapeError(f"expert_probs must have shape (B, K) with B >= 1, got {tuple(expert_probs.shape)}")
    mean = expert_probs.mean(dim=0)
    top = torch.nn.functional.one_hot(expert_probs.argmax(dim=1), expert_probs.shape[1]).float().mean(dim=0)
    return ExpertUsage(mean, top, math.exp(float(torch.special.entr(mean).sum())))


def checked_weights(weights: Tensor | None, members: Tensor, name: str) -> Tensor:
    """Probabilities of the members of a set; equal ones where none are given.

    Values are checked on the CPU only: on an accelerator the check would wait for the device.

    Args:
        weights: non-negative, shape ``(B, N)``, rows summing to 1; or None.
        members: what is weighted, shape ``(B, N, *)``.
        name: of the argument, for the message.

    Returns:
        Weights on the device of ``members``, in double precision if they are, else in single.

    Raises:
        ShapeError: if the shape does not fit, a weight is negative or a row does not sum to 1.
    """
    shape = members.shape[:2]
    if weights is None:
        return torch.full(shape, 1.0 / max(shape[1], 1), device=members.device)
    if weights.shape != shape:
        raise ShapeError(f"{name} must have shape {tuple(shape)}, got {tuple(weights.shape)}")
    if weights.device.type == "cpu":
        _check_rows(weights.detach(), name)
    dtype = torch.float64 if weights.dtype == torch.float64 else torch.float32
    return weights.to(members.device, dtype)


def _check_rows(weights: Tensor, name: str) -> None:
    sums = weights.double().sum(dim=1)
    if not bool((weights >= 0).all()):
        raise ShapeError(f"{name} must be >= 0, got {weights.min().item():g}")
    off = ~((sums - 1.0).abs() <= WEIGHTS_TOLERANCE)
    if bool(off.any()):
        raise ShapeError(f"{name} must sum to 1 for each image, got {sums[off][0].item():.6g}")
