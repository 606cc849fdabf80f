r"""Stochastic segmentation network (Monteiro et al., NeurIPS 2020): logits with a low-rank normal distribution.

.. math:: \eta = \mu(x) + F(x)\, \epsilon_r + \sqrt{D(x)} \odot \epsilon, \qquad
          \ell = -\log \frac{1}{M} \sum_m \exp \log p(y \mid \eta_m)

The factor's deviates :math:`\epsilon_r` are those of the whole case, the diagonal's :math:`\epsilon` belong to the
voxel: windows that overlap agree on both.

Departures. Samples are put together from the factor and the diagonal, as in the authors' code for LIDC. The covariance
is never factorised, as in their later code, where the Cholesky factor becomes singular on LIDC. The covariance begins
small, and ``spread`` can keep it out of the first epochs: the factor lifts and lowers the whole background, which the
best of M samples hides from the loss, and does so less if the mean is learnt first. For the same reason the loss of
the overlay holds a small share of the samples' mean log-likelihood, which no sample escapes.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Literal, NamedTuple

import torch
from torch import Tensor, nn

from mose_med.baselines.parts.likelihood import drawn_rater, log_likelihoods
from mose_med.baselines.parts.phiseg_unet import LIDC_CHANNELS, PhisegUNet
from mose_med.baselines.parts.sampled_network import SampledNetwork
from mose_med.errors import require
from mose_med.networks.protocol import NoiseField, checked_fields, standard_deviates
from mose_med.networks.registry import register
from mose_med.samples import ExpertSamples, RaterMasks

__all__ = ["DrawnSamples", "LogitDistribution", "StochasticSegmentationLoss", "StochasticSegmentationNetwork"]

#: Least variance of a logit.
_EPSILON = 1e-5
#: Logarithm of a logit's variance, and standard deviation of the factor's weights, before training.
_FIRST_LOG_VARIANCE = -3.0
_FIRST_FACTOR = 0.02


class LogitDistribution(NamedTuple):
    r"""Normal distribution of logits: ``mean`` and ``variance`` (B, C, \*spatial), ``factor`` (B, C, r, \*spatial)."""

    mean: Tensor
    variance: Tensor
    factor: Tensor


class DrawnSamples(NamedTuple):
    """What the loss takes: samples, and the index (B,) of the rater drawn for each image."""

    samples: ExpertSamples
    rater: Tensor


@register("stochastic_segmentation_network")
class StochasticSegmentationNetwork(SampledNetwork):
    """PHiSeg's U-Net and three 1x1 heads: mean, logarithm of the diagonal, and factor of the covariance.

    Args:
        spatial_dims: 2 or 3.
        in_channels: channels of the image.
        out_channels: C, classes with the background.
        channels: channels of each level, finest first.
        rank: r, columns of the factor.
        samples_per_expert: S unless a call says otherwise.
        training_samples: M, samples of the loss.

    Attributes:
        spread: what all deviates of a training step are multiplied by, 1 unless a schedule says otherwise; at 0 every
            sample is the mean.

    Raises:
        ConfigError: if a setting does not fit.

    Example:
        >>> network = StochasticSegmentationNetwork(channels=(4, 8), rank=3).eval()
        >>> network(torch.zeros(1, 1, 9, 6), samples_per_expert=5).logits.shape
        torch.Size([1, 1, 5, 2, 9, 6])
    """

    def __init__(
        self,
        spatial_dims: int = 2,
        in_channels: int = 1,
        out_channels: int = 2,
        channels: Sequence[int] = LIDC_CHANNELS,
        rank: int = 10,
        samples_per_expert: int = 16,
        training_samples: int = 20,
    ) -> None:
        super().__init__(
            spatial_dims,
            in_channels,
            out_channels,
            noise_dim=rank,
            samples_per_expert=samples_per_expert,
            training_samples=training_samples,
        )
        require(rank >= 1, f"rank must be >= 1, got {rank}")
        self.noise_fields = (NoiseField("diagonal", out_channels, stride=1, through_slices=False),)
        self.trunk = PhisegUNet(spatial_dims, in_channels, channels)
        head = nn.Conv2d if spatial_dims == 2 else nn.Conv3d
        self.mean = head(channels[0], out_channels, kernel_size=1)
        self.log_variance = head(channels[0], out_channels, kernel_size=1)
        self.factor = head(channels[0], out_channels * rank, kernel_size=1)
        self.spread = 1.0
        self._begin_narrow()

    def _begin_narrow(self) -> None:
        nn.init.normal_(self.log_variance.weight, std=_FIRST_FACTOR)
        nn.init.constant_(_bias(self.log_variance), _FIRST_LOG_VARIANCE)
        nn.init.normal_(self.factor.weight, std=_FIRST_FACTOR)
        nn.init.zeros_(_bias(self.factor))

    def distribution(self, image: Tensor) -> LogitDistribution:
        """Distribution of an image's logits, in single precision also under autocast."""
        features = self.trunk(image)
        with torch.autocast(image.device.type, enabled=False):
            features = features.to(self.mean.weight.dtype)
            variance = self.log_variance(features).exp() + _EPSILON
            factor = self.factor(features).unflatten(1, (self.out_channels, self.noise_dim))
            return LogitDistribution(self.mean(features), variance, factor)

    def samples_from(self, image: Tensor, deviates: Tensor, fields: Sequence[Tensor] | None = None) -> ExpertSamples:
        """Samples of given numbers; arguments are those of :meth:`SampledNetwork.samples_from`."""
        deviates = self.checked_deviates(image, deviates)
        mean, variance, factor = self.distribution(image)
        with torch.autocast(image.device.type, enabled=False):
            logits = mean[:, None, None] + torch.einsum("bcr...,bksr->bksc...", factor, deviates.to(factor.dtype))
            if fields is not None:
                (noise,) = checked_fields(self, fields, image, deviates.shape[2])
                logits = logits + variance.sqrt()[:, None, None] * noise.to(variance.dtype)
        return ExpertSamples(logits, mean.new_ones(len(image), 1))

    def training_step(
        self, image: Tensor, target: RaterMasks, samples: int, generator: torch.Generator | None
    ) -> DrawnSamples:
        """Samples, and the rater that the loss compares them with."""
        deviates = standard_deviates(self, samples, len(image), generator)
        shape = (len(image), 1, samples, self.out_channels, *image.shape[2:])
        noise = _normal_on_device(shape, generator, image.device)
        samples_drawn = self.samples_from(image, self.spread * deviates, [self.spread * noise])
        return DrawnSamples(samples_drawn, drawn_rater(target, generator))


def _bias(head: nn.Conv2d | nn.Conv3d) -> Tensor:
    assert head.bias is not None
    return head.bias


def _normal_on_device(shape: Sequence[int], generator: torch.Generator | None, device: torch.device) -> Tensor:
    """Noise of every voxel, from a seed that the CPU generator gives.

    Drawn on the CPU, it would cost a training step on an accelerator more than the network does.
    """
    seed = int(torch.randint(2**62, (), generator=generator))
    return torch.randn(*shape, generator=torch.Generator(device).manual_seed(seed), device=device)


class StochasticSegmentationLoss(nn.Module):
    r"""Negative log-likelihood of a mask, estimated with M samples, mean over the images.

    .. math:: \ell = -(1 - a) \log \frac{1}{M} \sum_m e^{\ell_m} - \frac{a}{M} \sum_m \ell_m, \qquad
        \ell_m = \log p(y \mid \eta_m)

    By Jensen's inequality it is at least the negative log-likelihood, for any share a.

    Args:
        raters: ``"one"``, drawn at random for every image and step, as in the paper; or ``"all"``: the expectation over
            that draw, of less noise.
        mean_share: a, in [0, 1]. At 0 the loss is that of the paper. At 1 every sample has to be every mask, and none
            differs from another.
        ignore_index: label of voxels that do not count.

    Attributes:
        components: ``likelihood``, the loss of the last call without gradient.

    Raises:
        ConfigError: if there is no such choice of raters, or the share is out of range.
    """

    def __init__(
        self, raters: Literal["one", "all"] = "one", mean_share: float = 0.0, ignore_index: int | None = None
    ) -> None:
        super().__init__()
        require(raters in ("one", "all"), f"raters must be 'one' or 'all', got {raters!r}")
        require(0.0 <= mean_share <= 1.0, f"mean_share must be in [0, 1], got {mean_share}")
        self.raters = raters
        self.mean_share = mean_share
        self.ignore_index = ignore_index
        self.components: dict[str, Tensor] = {}

    def forward(self, output: DrawnSamples, rater_masks: RaterMasks) -> Tensor:
        """Loss of a batch.

        Args:
            output: of the network, with the target.
            rater_masks: the target.
        """
        masks, weights = rater_masks
        if self.raters == "one":
            masks = masks[torch.arange(len(masks), device=masks.device), output.rater].unsqueeze(1)
            weights = torch.ones_like(weights[:, :1])
        logits = output.samples.logits.flatten(1, 2)
        each = log_likelihoods(logits, masks, self.ignore_index)
        mixture = each.logsumexp(dim=1) - math.log(logits.shape[1])
        found = torch.lerp(mixture, each.mean(dim=1), self.mean_share)
        loss = -(weights.to(found.dtype) * found).sum(dim=1).mean()
        self.components = {"likelihood": loss.detach()}
        return loss
