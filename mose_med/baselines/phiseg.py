r"""PHiSeg (Baumgartner et al., "PHiSeg: capturing uncertainty in medical image segmentation", MICCAI 2019).

Resolution levels run from 0 (full) to the coarsest, latent levels from 0 (finest) to the coarsest; the coarsest of both
are the same, so the finest latents are ``len(channels) - latent_levels`` steps below the image.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from mose_med.baselines.parts.blocks import Encoder, convolution, normalised_block, repeated, upsampled
from mose_med.baselines.parts.evidence import (
    EvidenceLowerBoundLoss,
    VariationalOutput,
    mean_divergence,
    summed_cross_entropy,
)
from mose_med.baselines.parts.gaussians import DiagonalGaussian, DrawnLatents, GivenLatents, LatentSource, bounded
from mose_med.baselines.parts.latent_network import LatentNetwork, SeenMask
from mose_med.errors import require
from mose_med.networks.checks import check_channels
from mose_med.networks.head.tiles import at_least_float32
from mose_med.networks.protocol import NoiseField
from mose_med.networks.registry import register
from mose_med.networks.temperature import Temperature

__all__ = ["PHiSeg", "PHiSegLoss"]

#: Resolution levels without latents in the published network.
_LEVELS_WITHOUT_LATENTS = 2
#: Below it the logarithm of softplus(x) is x to rounding.
_LOGARITHMIC = -20.0


@register("phiseg")
class PHiSeg(LatentNetwork):
    """Latent maps at several resolutions, from which alone the segmentation is decoded.

    Prior and posterior are encoders; from the coarsest level up, each predicts the Gaussian of its latent map from the
    level's feature and the latents one level below. The decoder gets the latents and not the image; every level adds
    its share to the logits. The default is the published size.

    Departure: the published code also passes the latents of each level on to all finer ones, through convolutions whose
    result nothing uses; they are left out (443,904 parameters each of prior and posterior). Upsampling does not align
    corners. A deviation cannot be below exp(-10).

    Args:
        spatial_dims: 2 or 3.
        in_channels: channels of the image.
        out_channels: C, classes with the background.
        channels: channels of each resolution level, finest first.
        latent_levels: number of latent maps; None for one at all levels but the two finest.
        latent_dim: channels of each latent map.
        samples_per_expert: S unless a call says otherwise.

    Raises:
        ConfigError: if a setting does not fit.

    Example:
        >>> network = PHiSeg(channels=(4, 8, 8), latent_levels=2).eval()
        >>> network(torch.zeros(1, 1, 9, 6), samples_per_expert=3).logits.shape
        torch.Size([1, 1, 3, 2, 9, 6])
        >>> [(field.channels, field.stride) for field in network.noise_fields]
        [(2, 4), (2, 2)]
    """

    def __init__(
        self,
        spatial_dims: int = 2,
        in_channels: int = 1,
        out_channels: int = 2,
        channels: tuple[int, ...] = (32, 64, 128, 192, 192, 192, 192),
        latent_levels: int | None = None,
        latent_dim: int = 2,
        samples_per_expert: int = 4,
    ) -> None:
        channels = tuple(channels)
        check_channels(channels)
        levels = max(1, len(channels) - _LEVELS_WITHOUT_LATENTS) if latent_levels is None else latent_levels
        require(1 <= levels <= len(channels), f"latent_levels must be in [1, {len(channels)}], got {levels}")
        require(latent_dim >= 1, f"latent_dim must be >= 1, got {latent_dim}")
        coarsest_first = range(len(channels) - 1, len(channels) - 1 - levels, -1)
        super().__init__(
            spatial_dims=spatial_dims,
            in_channels=in_channels,
            out_channels=out_channels,
            channels=channels,
            samples_per_expert=samples_per_expert,
            noise_dim=0,
            noise_fields=tuple(
                NoiseField(f"level {level}", latent_dim, 2**level, through_slices=True) for level in coarsest_first
            ),
        )
        self.prior = _LatentMaps(spatial_dims, in_channels, channels, levels, latent_dim)
        self.posterior = _LatentMaps(spatial_dims, in_channels + out_channels, channels, levels, latent_dim)
        self.likelihood = _Likelihood(spatial_dims, out_channels, channels, levels, latent_dim)
        self.temperature = Temperature()

    def encode(self, image: Tensor) -> list[Tensor]:
        """Maps of all levels of the prior's encoder."""
        levels: list[Tensor] = self.prior.encoder(image)
        return levels

    def decode(self, encoded: list[Tensor], deviates: Tensor, fields: list[Tensor]) -> Tensor:
        """Latent maps of every sample, and their segmentation."""
        drawn = DrawnLatents(fields)
        self.prior(encoded, drawn)
        logits: Tensor = self.temperature(self.likelihood(drawn.latents)[-1])
        return logits.view(*deviates.shape[:2], *logits.shape[1:])

    def training_output(self, image: Tensor, seen: SeenMask, generator: torch.Generator | None) -> VariationalOutput:
        """One sample of the posterior, which sees the mask's indicators shifted to -1/2 and 1/2."""
        drawn = DrawnLatents(generator=generator)
        with_mask = torch.cat([image, seen.indicators - 0.5], dim=1)
        posterior = self.posterior(self.posterior.encoder(with_mask), drawn)
        prior = self.prior(self.encode(image), GivenLatents(drawn.latents))
        *partial_logits, logits = self.likelihood(drawn.latents)
        enlarged = tuple(F.interpolate(part, size=image.shape[2:], mode="nearest") for part in partial_logits)
        return VariationalOutput(logits, tuple(posterior), tuple(prior), seen.rater, partial_logits=enlarged)


class _LatentMaps(nn.Module):
    """Gaussians of all latent maps, coarsest first: the structure of prior and posterior."""

    def __init__(
        self, spatial_dims: int, in_channels: int, channels: tuple[int, ...], levels: int, latent_dim: int
    ) -> None:
        super().__init__()
        block = partial(normalised_block, spatial_dims)
        width = latent_dim * channels[0]
        self.encoder = Encoder(in_channels, channels, block)
        self.heads = nn.ModuleList([_SoftplusHead(spatial_dims, channels[-1], latent_dim, kernel_size=3)])
        self.from_below = nn.ModuleList()
        self.merge = nn.ModuleList()
        shift = len(channels) - levels
        for level in reversed(range(levels - 1)):
            self.from_below.append(block(latent_dim, width, convs=2))
            self.merge.append(block(channels[level + shift] + width, channels[level], convs=2))
            self.heads.append(_SoftplusHead(spatial_dims, channels[level], latent_dim, kernel_size=1))

    def forward(self, levels: list[Tensor], source: LatentSource) -> list[DiagonalGaussian]:
        """The Gaussians of an image whose maps the encoder gave, with the latents of ``source``."""
        features = list(reversed(levels))
        gaussians = [self.heads[0](features[0])]
        latents = source.at(0, gaussians[0])
        parts = zip(features[1:], self.from_below, self.merge, self.heads[1:], strict=False)
        for level, (feature, from_below, merge, head) in enumerate(parts, start=1):
            below = from_below(upsampled(latents))
            feature = repeated(feature, len(below) // len(feature))
            gaussians.append(head(merge(torch.cat([feature, below], dim=1))))
            latents = source.at(level, gaussians[-1])
        return gaussians


class _SoftplusHead(nn.Module):
    """Gaussian of every cell: a convolution for the mean, a 1x1 convolution with softplus for the deviation."""

    def __init__(self, spatial_dims: int, in_channels: int, latent_dim: int, *, kernel_size: int) -> None:
        super().__init__()
        self.mean = convolution(spatial_dims, in_channels, latent_dim, kernel_size)
        self.std = convolution(spatial_dims, in_channels, latent_dim, kernel_size=1)

    def forward(self, maps: Tensor) -> DiagonalGaussian:
        with torch.autocast(maps.device.type, enabled=False):
            maps = at_least_float32(maps)
            # Far below 0, where softplus underflows, its logarithm is its argument.
            raw = self.std(maps)
            log_std = torch.where(raw > _LOGARITHMIC, F.softplus(raw.clamp_min(_LOGARITHMIC)).log(), raw)
            return bounded(self.mean(maps), log_std)


class _Likelihood(nn.Module):
    r"""Logits from latent maps alone, (B, C, \*cells): what the coarsest level says, then with each finer one."""

    def __init__(
        self, spatial_dims: int, out_channels: int, channels: tuple[int, ...], levels: int, latent_dim: int
    ) -> None:
        super().__init__()
        block = partial(normalised_block, spatial_dims)
        self.shift = len(channels) - levels
        coarsest_first = list(reversed(range(levels)))
        self.expand = nn.ModuleList(block(latent_dim, channels[level], convs=2) for level in coarsest_first)
        self.rise = nn.ModuleList(
            nn.ModuleList(block(channels[level], channels[level], convs=1) for _ in range(self.shift))
            for level in coarsest_first
        )
        widths = [channels[levels - 1], *(channels[level + self.shift] for level in coarsest_first[1:])]
        self.from_below = nn.ModuleList(
            block(below, channels[level], convs=1) for below, level in zip(widths, coarsest_first[1:], strict=False)
        )
        self.merge = nn.ModuleList(
            block(2 * channels[level], width, convs=2)
            for width, level in zip(widths[1:], coarsest_first[1:], strict=True)
        )
        self.classify = nn.ModuleList(convolution(spatial_dims, width, out_channels, kernel_size=1) for width in widths)

    def forward(self, latents: Sequence[Tensor]) -> list[Tensor]:
        raised = [self._raised(index, latent) for index, latent in enumerate(latents)]
        x = raised[0]
        logits = [self.classify[0](x)]
        parts = zip(raised[1:], self.from_below, self.merge, self.classify[1:], strict=True)
        for own, from_below, merge, classify in parts:
            x = merge(torch.cat([own, from_below(upsampled(x))], dim=1))
            logits.append(classify(x) + F.interpolate(logits[-1], scale_factor=2.0, mode="nearest"))
        return logits

    def _raised(self, index: int, latent: Tensor) -> Tensor:
        """A latent map's features, as much finer as the finest latents are coarser than the image."""
        x: Tensor = self.expand[index](latent)
        rise = self.rise[index]
        assert isinstance(rise, nn.ModuleList)
        for block in rise:
            x = block(upsampled(x))
        return x


class PHiSegLoss(EvidenceLowerBoundLoss):
    r"""Negative evidence lower bound with a reconstruction at every level, mean over the images.

    .. math:: \ell = \frac{1}{B} \sum_n \Big(\sum_l CE_l + \beta \sum_l 2^{d l}\, KL_l\Big)

    The cross-entropy of level l is that of the logits that levels from the coarsest to l add up to, summed over the
    voxels. The divergence of a level, level 0 the finest, is summed over its cells, and weighs as many times more as it
    has fewer of them; d is the number of spatial axes (the paper's is 2).

    Args:
        beta: factor of all divergences, 1 in the published code.
        ignore_index: label of voxels that do not count.

    Attributes:
        components: "reconstruction" and "kl" (weighted, before beta) of the last call, without gradient.

    Raises:
        ConfigError: if beta is negative.
    """

    def terms(self, output: VariationalOutput, masks: Tensor) -> tuple[Tensor, Tensor]:
        """Cross-entropy of all levels and weighted divergence, before beta."""
        levels = (*output.partial_logits, output.logits)
        each = [summed_cross_entropy(logits, masks, self.ignore_index).mean() for logits in levels]
        cells = 2 ** (output.logits.ndim - 2)
        weights = [float(cells**level) for level in reversed(range(len(output.posterior)))]
        return torch.stack(each).sum(), mean_divergence(output, weights)
