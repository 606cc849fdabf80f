"""Entropy of predicted label distributions, whole and split by expert, in nats; 0 log 0 is 0."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from mose_med.errors import ShapeError

__all__ = ["ExpertEntropy", "expert_entropy_split", "predictive_entropy"]


class ExpertEntropy(NamedTuple):
    """Entropy of the marginal and its parts, each ``(B, *spatial)`` in nats; ``total = between + within``.

    Attributes:
        total: entropy of the marginal distribution.
        between: mutual information of expert and label: how much the experts disagree.
        within: expected entropy of one expert's own distribution.
    """

    total: Tensor
    between: Tensor
    within: Tensor


def predictive_entropy(probs: Tensor) -> Tensor:
    r"""Entropy :math:`-\sum_c p_c \log p_c` of every voxel.

    Args:
        probs: class probabilities, shape ``(B, C, *spatial)``.

    Returns:
        Entropy in nats, shape ``(B, *spatial)``.

    Raises:
        ShapeError: if there is no class axis.

    Example:
        >>> predictive_entropy(torch.tensor([[0.5, 0.5], [1.0, 0.0]]))
        tensor([0.6931, 0.0000])
    """
    if probs.ndim < 2:
        raise ShapeError(f"probs must have shape (B, C, *spatial), got {tuple(probs.shape)}")
    return _entropy(probs, class_axis=1)


def expert_entropy_split(expert_mean_probs: Tensor, expert_probs: Tensor) -> ExpertEntropy:
    r"""Split the entropy of the marginal into a part between the experts and a part within them.

    .. math:: H\Big(\sum_k \pi_k \bar p_k\Big) = I(k; y) + \sum_k \pi_k H(\bar p_k)

    Args:
        expert_mean_probs: mean probabilities of every expert, shape ``(B, K, C, *spatial)``.
        expert_probs: probability of every expert, shape ``(B, K)`` or ``(B, K, *spatial)``, summing to 1 over K.

    Returns:
        Total, between and within.

    Raises:
        ShapeError: if the shapes do not fit.

    Example:
        >>> split = expert_entropy_split(torch.tensor([[[1.0, 0.0], [0.0, 1.0]]]), torch.tensor([[0.5, 0.5]]))
        >>> split.between, split.within
        (tensor([0.6931]), tensor([0.]))
    """
    probs = _weights_by_voxel(expert_mean_probs, expert_probs)
    total = predictive_entropy((probs.unsqueeze(2) * expert_mean_probs).sum(dim=1))
    within = (probs * _entropy(expert_mean_probs, class_axis=2)).sum(dim=1)
    return ExpertEntropy(total, (total - within).clamp_min(0.0), within)


def _entropy(probs: Tensor, class_axis: int) -> Tensor:
    terms: Tensor = torch.special.entr(probs)
    return terms.sum(dim=class_axis)


def _weights_by_voxel(expert_mean_probs: Tensor, expert_probs: Tensor) -> Tensor:
    if expert_mean_probs.ndim < 3:
        raise ShapeError(f"expert_mean_probs must have shape (B, K, C, *spatial), got {tuple(expert_mean_probs.shape)}")
    image, spatial = expert_mean_probs.shape[:2], expert_mean_probs.shape[3:]
    if expert_probs.shape == image:
        return expert_probs.reshape(*image, *(1 for _ in spatial))
    if expert_probs.shape != (*image, *spatial):
        raise ShapeError(
            f"expert_probs must have shape {tuple(image)}, with or without space, got {tuple(expert_probs.shape)}"
        )
    return expert_probs
