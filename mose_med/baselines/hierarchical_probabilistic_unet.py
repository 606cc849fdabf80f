"""Hierarchical Probabilistic U-Net (Kohl et al., arXiv:1905.13077, 2019).

The paper is "A hierarchical probabilistic U-Net for modeling multi-scale ambiguities"; its loss is
:class:`~mose_med.baselines.geco.GecoLoss`. Latents run from the
coarsest scale up: each scale of the decoder predicts the Gaussian of its latents from what the coarser ones have made
of the image.
"""

from __future__ import annotations

from functools import partial
from itertools import pairwise

import torch
from torch import Tensor, nn

from mose_med.baselines.parts.blocks import Encoder, convolution, joined, repeated
from mose_med.baselines.parts.evidence import VariationalOutput
from mose_med.baselines.parts.gaussians import DiagonalGaussian, DrawnLatents, GaussianHead, GivenLatents, LatentSource
from mose_med.baselines.parts.latent_network import LatentNetwork, SeenMask
from mose_med.errors import require
from mose_med.networks.checks import check_channels
from mose_med.networks.protocol import NoiseField
from mose_med.networks.registry import register
from mose_med.networks.temperature import Temperature

__all__ = ["HierarchicalProbabilisticUNet"]

_BLOCKS_PER_LEVEL = 3
_CONVS_PER_BLOCK = 3


@register("hierarchical_probabilistic_unet")
class HierarchicalProbabilisticUNet(LatentNetwork):
    """U-Net with latents at the coarsest scales of its decoder.

    Prior and posterior are U-Nets of residual blocks without normalisation (pre-activated; three 3x3 convolutions at
    half the width), cut off above their last latents; the posterior sees the mask. In training the prior's decoder runs
    with the posterior's latents, for the logits as for the Gaussians of the next scale. The default is the published
    size for LIDC.

    Departure: the coarsest latents are one vector an image, predicted from the mean over space. On the published 128
    voxels and eight levels the coarsest scale is one cell anyway; elsewhere the published code would draw it again in
    every cell. Departure: the posterior ends with its last latents, since nothing uses the published decoder level
    above them; log sigma is clamped.

    Args:
        spatial_dims: 2 or 3.
        in_channels: channels of the image.
        out_channels: C, classes with the background.
        channels: channels of each level, finest first, even numbers.
        latent_dims: latents of each scale, coarsest first; None for one at each of the coarser half of the levels.
        samples_per_expert: S unless a call says otherwise.

    Raises:
        ConfigError: if a setting does not fit.

    Example:
        >>> network = HierarchicalProbabilisticUNet(channels=(4, 8, 8), latent_dims=(1, 2)).eval()
        >>> network(torch.zeros(1, 1, 9, 6), samples_per_expert=3).logits.shape
        torch.Size([1, 1, 3, 2, 9, 6])
        >>> network.noise_dim, network.noise_fields
        (1, (NoiseField(name='scale 1', channels=2, stride=2, through_slices=True),))
    """

    def __init__(
        self,
        spatial_dims: int = 2,
        in_channels: int = 1,
        out_channels: int = 2,
        channels: tuple[int, ...] = (24, 48, 96, 192, 192, 192, 192, 192),
        latent_dims: tuple[int, ...] | None = None,
        samples_per_expert: int = 4,
    ) -> None:
        channels = tuple(channels)
        latents = (1,) * (len(channels) // 2) if latent_dims is None else tuple(latent_dims)
        _check(channels, latents)
        fields = [
            NoiseField(f"scale {index}", count, 2 ** (len(channels) - 1 - index), through_slices=True)
            for index, count in enumerate(latents)
        ]
        super().__init__(
            spatial_dims=spatial_dims,
            in_channels=in_channels,
            out_channels=out_channels,
            channels=channels,
            samples_per_expert=samples_per_expert,
            noise_dim=latents[0],
            noise_fields=tuple(fields[1:]),
        )
        level = partial(_residual_level, spatial_dims)
        self.prior = _Core(spatial_dims, in_channels, channels, latents, levels=len(latents))
        self.posterior = _Core(spatial_dims, out_channels + in_channels, channels, latents, levels=len(latents) - 1)
        finer = list(pairwise(reversed(channels)))[len(latents) :]
        self.stitching = nn.ModuleList(level(below + skip, skip) for below, skip in finer)
        self.classify = convolution(spatial_dims, channels[0], out_channels, kernel_size=1)
        self.temperature = Temperature()
        for layer in self.modules():
            if isinstance(layer, nn.Conv2d | nn.Conv3d):
                nn.init.orthogonal_(layer.weight)  # as published: sums of He normal blocks would double at each

    def encode(self, image: Tensor) -> list[Tensor]:
        """Maps of all levels of the prior's encoder."""
        levels: list[Tensor] = self.prior.encoder(image)
        return levels

    def decode(self, encoded: list[Tensor], deviates: Tensor, fields: list[Tensor]) -> Tensor:
        """The decoder of every sample, from the coarsest latents up."""
        batch, samples, _ = deviates.shape
        whole = deviates.reshape(batch * samples, -1, *([1] * self.spatial_dims))
        _, x = self.prior.walk(encoded, DrawnLatents([whole, *fields]))
        logits: Tensor = self.temperature(self._stitched(x, encoded))
        return logits.view(batch, samples, *logits.shape[1:])

    def training_output(self, image: Tensor, seen: SeenMask, generator: torch.Generator | None) -> VariationalOutput:
        """One sample of the posterior, decoded by the prior."""
        of_posterior = self.posterior.encoder(torch.cat([seen.indicators, image], dim=1))
        drawn = DrawnLatents(generator=generator)
        posterior, _ = self.posterior.walk(of_posterior, drawn)
        levels = self.prior.encoder(image)
        prior, x = self.prior.walk(levels, GivenLatents(drawn.latents))
        return VariationalOutput(self._stitched(x, levels), tuple(posterior), tuple(prior), seen.rater)

    def _stitched(self, x: Tensor, levels: list[Tensor]) -> Tensor:
        """Logits from the prior's last map, by the levels that have no latents."""
        skips = levels[: len(self.stitching)]
        for block, skip in zip(self.stitching, reversed(skips), strict=True):
            x = block(joined(x, skip, nearest=True))
        logits: Tensor = self.classify(x)
        return logits


class _Core(nn.Module):
    """Encoder, and the decoder of the scales with latents.

    Args:
        spatial_dims: 2 or 3.
        in_channels: channels of the input.
        channels: channels of each level, finest first.
        latents: latents of each scale, coarsest first.
        levels: decoder levels, as many as there are latent scales or one less.
    """

    def __init__(
        self, spatial_dims: int, in_channels: int, channels: tuple[int, ...], latents: tuple[int, ...], *, levels: int
    ) -> None:
        super().__init__()
        level = partial(_residual_level, spatial_dims)
        rising = list(reversed(channels))
        self.encoder = Encoder(in_channels, channels, level)
        self.heads = nn.ModuleList(GaussianHead(spatial_dims, *pair) for pair in zip(rising, latents, strict=False))
        self.decoder = nn.ModuleList(
            level(latent + below + skip, skip)
            for latent, (below, skip) in zip(latents[:levels], pairwise(rising), strict=False)
        )

    def walk(self, levels: list[Tensor], source: LatentSource) -> tuple[list[DiagonalGaussian], Tensor]:
        """Gaussians of all scales, coarsest first, and the decoder's last map."""
        x, skips = levels[-1], levels[:-1]
        gaussians: list[DiagonalGaussian] = []
        for index, head in enumerate(self.heads):
            seen = x if index else x.mean(dim=tuple(range(2, x.ndim)), keepdim=True)
            gaussians.append(head(seen))
            latents = source.at(index, gaussians[-1])
            if index < len(self.decoder):
                x = repeated(x, len(latents) // len(x))
                latents = latents.expand(-1, -1, *x.shape[2:]).to(x.dtype)
                merged = joined(torch.cat([latents, x], dim=1), skips[-1 - index], nearest=True)
                x = self.decoder[index](merged)
        return gaussians, x


class _ResidualBlock(nn.Module):
    """ReLU, 3x3 convolutions at half the width with ReLU between them, 1x1 convolution to the full width, sum."""

    def __init__(self, spatial_dims: int, in_channels: int, out_channels: int) -> None:
        super().__init__()
        conv = partial(convolution, spatial_dims)
        half = out_channels // 2
        layers: list[nn.Module] = []
        for pair in pairwise([in_channels] + [half] * _CONVS_PER_BLOCK):
            layers += [nn.ReLU(), conv(*pair)]
        self.residual = nn.Sequential(*layers, conv(half, out_channels, kernel_size=1))
        same = in_channels == out_channels
        self.skip = nn.Identity() if same else conv(in_channels, out_channels, kernel_size=1)

    def forward(self, x: Tensor) -> Tensor:
        summed: Tensor = self.residual(x) + self.skip(x)
        return summed


def _residual_level(spatial_dims: int, in_channels: int, out_channels: int) -> nn.Sequential:
    sizes = [in_channels] + [out_channels] * _BLOCKS_PER_LEVEL
    return nn.Sequential(*(_ResidualBlock(spatial_dims, *pair) for pair in pairwise(sizes)))


def _check(channels: tuple[int, ...], latents: tuple[int, ...]) -> None:
    check_channels(channels)
    fits = all(count >= 2 and count % 2 == 0 for count in channels)
    require(fits, f"channels must be even on every level, got {channels}")
    fits = 1 <= len(latents) < len(channels) and min(latents) >= 1
    require(fits, f"latent_dims must name 1 to {len(channels) - 1} scales of at least 1 latent, got {latents}")
