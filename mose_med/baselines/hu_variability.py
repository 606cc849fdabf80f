"""Variability of the raters as a target, after Hu et al. (MICCAI 2019).

The paper is "Supervised uncertainty quantification for segmentation with multiple annotations". This is a variant, not
a reproduction: no code was ever published. What is theirs: a Probabilistic U-Net, and a further loss that pulls the
variability of its samples, voxel by voxel, towards that of the raters. What is chosen here: the measure of both, its
weight, and the number of samples. Their variational dropout, which stands for what the model does not know, is left
out: samples would not be a function of image and deviates.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from mose_med.baselines.parts.evidence import EvidenceLowerBoundLoss, VariationalOutput
from mose_med.baselines.parts.latent_network import SeenMask
from mose_med.baselines.probabilistic_unet import ProbabilisticUNet
from mose_med.errors import ConfigError, require
from mose_med.networks.head.tiles import at_least_float32
from mose_med.networks.registry import register
from mose_med.overlap import class_indicators
from mose_med.samples import RaterMasks

__all__ = ["HuVariability", "HuVariabilityLoss", "variability_divergence"]

#: Four times the variance of a probability lies in [0, 1].
_FULL = 4.0
#: Keeps its logarithm where all samples are the same.
_SMOOTHING = 1e-3


@register("hu_variability")
class HuVariability(ProbabilisticUNet):
    """Probabilistic U-Net that also draws samples of its prior in training.

    Args:
        spatial_dims: 2 or 3.
        in_channels: channels of the image.
        out_channels: C, classes with the background.
        channels: channels of each level, finest first.
        latent_dim: L.
        samples_per_expert: S unless a call says otherwise.
        variability_samples: M, samples of the prior in a training step, at least 2.

    Raises:
        ConfigError: if a setting does not fit.
    """

    def __init__(
        self,
        spatial_dims: int = 2,
        in_channels: int = 1,
        out_channels: int = 2,
        channels: tuple[int, ...] = (32, 64, 128, 192, 192, 192, 192),
        latent_dim: int = 6,
        samples_per_expert: int = 4,
        variability_samples: int = 8,
    ) -> None:
        require(variability_samples >= 2, f"variability_samples must be >= 2, got {variability_samples}")
        super().__init__(spatial_dims, in_channels, out_channels, channels, latent_dim, samples_per_expert)
        self.variability_samples = variability_samples

    def training_output(self, image: Tensor, seen: SeenMask, generator: torch.Generator | None) -> VariationalOutput:
        """One sample of the posterior and M of the prior."""
        prior, posterior = self.gaussians(image, seen)
        latents = posterior.at(torch.randn(posterior.mean.shape, generator=generator)).unsqueeze(1)
        further = torch.randn(len(image), self.variability_samples, self.noise_dim, generator=generator)
        latents = torch.cat([latents, prior.of_samples().at(further)], dim=1)
        logits = self.combine.sample_logits(self.dense_feature(image), latents)
        return VariationalOutput(logits[:, 0], (posterior,), (prior,), seen.rater, prior_logits=logits[:, 1:])


def variability_divergence(logits: Tensor, raters: RaterMasks, ignore_index: int | None = None) -> Tensor:
    r"""How far the variability of samples is from that of the raters, summed over the voxels: shape (B,).

    .. math:: \sum_p \frac{1}{C} \sum_c KL\big(\mathrm{Bern}(4 v^r_{pc}) \,\|\, \mathrm{Bern}(4 v^s_{pc})\big)

    v of the raters is the variance p (1 - p) of a class with share p of their weight, and v of the samples the unbiased
    variance of the class's probability; both times 4 lie in [0, 1], the latter apart from chance.

    Args:
        logits: samples, shape (B, M, C, \*spatial), M >= 2.
        raters: masks (B, R, \*spatial) and weights.
        ignore_index: label of voxels that do not count, if it is that of any rater.

    Example:
        >>> certain = torch.tensor([[[[9.0], [-9.0]]], [[[-9.0], [9.0]]]]).view(1, 2, 2, 1)
        >>> disagreeing = RaterMasks(torch.tensor([[[0], [1]]]), torch.tensor([[0.5, 0.5]]))
        >>> agreeing = RaterMasks(torch.tensor([[[0], [0]]]), torch.tensor([[0.5, 0.5]]))
        >>> bool(variability_divergence(certain, disagreeing) < variability_divergence(certain, agreeing))
        True
    """
    with torch.autocast(logits.device.type, enabled=False):
        probs = at_least_float32(logits).softmax(dim=2).flatten(3)
        indicators = class_indicators(raters.masks, range(logits.shape[2]), probs.dtype)
        share = (raters.weights.to(probs.dtype)[:, :, None, None] * indicators).sum(dim=1)
        wanted = _FULL * share * (1.0 - share)
        found = (_FULL * probs.var(dim=1)).clamp_max(1.0)
        found = (found + _SMOOTHING) / (1.0 + 2.0 * _SMOOTHING)
        entropy = torch.special.entr(wanted) + torch.special.entr(1.0 - wanted)
        divergence: Tensor = (F.binary_cross_entropy(found, wanted, reduction="none") - entropy).mean(dim=1)
        if ignore_index is not None:
            divergence = divergence * (raters.masks != ignore_index).all(dim=1).flatten(1)
        return divergence.sum(dim=1)


class HuVariabilityLoss(EvidenceLowerBoundLoss):
    """Negative evidence lower bound plus ``variability`` times :func:`variability_divergence`, mean over the images.

    Args:
        beta: factor of the divergence of posterior and prior.
        variability: factor of the divergence of the variabilities. A plain attribute that a schedule may change between
            calls: it is best left at 0 until samples differ at all.
        ignore_index: label of voxels that do not count.

    Attributes:
        components: "reconstruction", "kl" and "variability" of the last call, before their factors, without gradient.

    Raises:
        ConfigError: if a factor is negative.
    """

    def __init__(self, beta: float = 1.0, variability: float = 1.0, ignore_index: int | None = None) -> None:
        super().__init__(beta, ignore_index)
        require(variability >= 0.0, f"variability must be >= 0, got {variability}")
        self.variability = variability

    def forward(self, output: VariationalOutput, rater_masks: RaterMasks) -> Tensor:
        """Loss of a batch, a scalar; arguments are those of the evidence lower bound.

        Raises:
            ShapeError: if the masks do not fit the output.
            ConfigError: if the network drew no samples of its prior.
        """
        loss = super().forward(output, rater_masks)
        if output.prior_logits is None:
            raise ConfigError("the network must be hu_variability: its output has samples of the prior")
        divergence = variability_divergence(output.prior_logits, rater_masks, self.ignore_index).mean()
        self.components["variability"] = divergence.detach()
        total: Tensor = loss + self.variability * divergence
        return total
