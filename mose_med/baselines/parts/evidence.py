r"""The evidence lower bound: what a training step of a latent-variable network gives its loss, and the loss itself.

Sums over the voxels are in single precision or better, also under autocast: the logarithms of 16,384 voxels do not add
up in half precision.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from mose_med.baselines.parts.gaussians import DiagonalGaussian, kl_divergence
from mose_med.errors import require
from mose_med.losses.targets import checked_raters, checked_samples
from mose_med.networks.head.tiles import at_least_float32
from mose_med.samples import RaterMasks, WeightedSamples

__all__ = [
    "EvidenceLowerBoundLoss",
    "VariationalOutput",
    "cross_entropies",
    "masks_of",
    "mean_divergence",
    "summed_cross_entropy",
    "target_masks",
]


class VariationalOutput(NamedTuple):
    r"""What a training step gives the loss.

    Attributes:
        logits: of the posterior's sample, (B, C, \*spatial).
        posterior: Gaussians of all latent levels, coarsest first.
        prior: those of the prior, given the posterior's samples of the coarser levels.
        rater: index of each image's rater, (B,), on the CPU.
        partial_logits: what the coarsest levels alone say, the coarsest level first.
        prior_logits: further samples, from the prior, (B, M, C, \*spatial).
    """

    logits: Tensor
    posterior: tuple[DiagonalGaussian, ...]
    prior: tuple[DiagonalGaussian, ...]
    rater: Tensor
    partial_logits: tuple[Tensor, ...] = ()
    prior_logits: Tensor | None = None


def masks_of(masks: Tensor, rater: Tensor) -> Tensor:
    """The mask (B, *spatial) of each image's rater."""
    return masks[torch.arange(len(masks), device=masks.device), rater.to(masks.device)]


def target_masks(output: VariationalOutput, rater_masks: RaterMasks, ignore_index: int | None) -> Tensor:
    r"""The mask (B, \*spatial) of the rater of each image that the training step saw.

    Raises:
        ShapeError: if the masks do not fit the output.
    """
    raters = checked_raters(rater_masks, None)
    checked_samples(WeightedSamples(output.logits.unsqueeze(1), raters.weights.sum(1, True)), raters, ignore_index)
    return masks_of(raters.masks, output.rater)


def cross_entropies(logits: Tensor, masks: Tensor, ignore_index: int | None = None) -> Tensor:
    """Cross-entropy of every voxel, (B, P), in single precision or better; 0 where the label does not count."""
    label = -100 if ignore_index is None else ignore_index
    with torch.autocast(logits.device.type, enabled=False):
        return F.cross_entropy(at_least_float32(logits), masks.long(), reduction="none", ignore_index=label).flatten(1)


def summed_cross_entropy(logits: Tensor, masks: Tensor, ignore_index: int | None = None) -> Tensor:
    r"""Cross-entropy summed over the voxels, in nats: shape (B,), in single precision or better.

    Args:
        logits: shape (B, C, \*spatial).
        masks: class maps, shape (B, \*spatial).
        ignore_index: label of voxels that do not count.
    """
    return cross_entropies(logits, masks, ignore_index).sum(dim=1)


def mean_divergence(output: VariationalOutput, weights: Sequence[float] | None = None) -> Tensor:
    """Divergence of posterior and prior summed over the levels, each times its weight; mean over the images."""
    levels = [kl_divergence(*pair).mean() for pair in zip(output.posterior, output.prior, strict=True)]
    factors = [1.0] * len(levels) if weights is None else weights
    return torch.stack([factor * level for factor, level in zip(factors, levels, strict=True)]).sum()


class EvidenceLowerBoundLoss(nn.Module):
    r"""Negative evidence lower bound, mean over the images (Kohl et al., "A probabilistic U-Net", NeurIPS 2018).

    .. math:: \ell = \frac{1}{B} \sum_n \Big(-\sum_p \log p(y_{np} \mid x_n, z_n) + \beta\, KL(q_n \| p_n)\Big), \qquad
        z_n \sim q_n

    The cross-entropy is summed over the voxels, as the bound asks for: with their mean the divergence would weigh
    thousands of times more, and all samples would be alike. Weight decay is the optimiser's, 1e-5 in the published
    code.

    Args:
        beta: factor of the divergence, 1 in the published code.
        ignore_index: label of voxels that do not count.

    Attributes:
        components: "reconstruction" and "kl" (before beta) of the last call, without gradient.

    Raises:
        ConfigError: if beta is negative.
    """

    def __init__(self, beta: float = 1.0, ignore_index: int | None = None) -> None:
        super().__init__()
        require(beta >= 0.0, f"beta must be >= 0, got {beta}")
        self.beta = beta
        self.ignore_index = ignore_index
        self.components: dict[str, Tensor] = {}

    def forward(self, output: VariationalOutput, rater_masks: RaterMasks) -> Tensor:
        """Loss of a batch, a scalar.

        Args:
            output: of the network, in training.
            rater_masks: the target that it saw.

        Raises:
            ShapeError: if the masks do not fit the output.
        """
        masks = target_masks(output, rater_masks, self.ignore_index)
        reconstruction, divergence = self.terms(output, masks)
        self.components = {"reconstruction": reconstruction.detach(), "kl": divergence.detach()}
        return reconstruction + self.beta * divergence

    def terms(self, output: VariationalOutput, masks: Tensor) -> tuple[Tensor, Tensor]:
        """Cross-entropy and divergence, before beta."""
        return summed_cross_entropy(output.logits, masks, self.ignore_index).mean(), mean_divergence(output)
