"""The refinement network: from an image and calibrated probabilities to one mask per latent code."""

from __future__ import annotations

from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from mose_med.networks.noise import NoiseInjection

__all__ = ["RefinementNetwork"]

_SLOPE = 0.2
_LEVELS = 4


class RefinementNetwork(nn.Module):
    """A U-Net of four levels with noise after the last three steps of its decoder.

    Args:
        spatial_dims: 2 or 3.
        in_channels: channels of the input.
        out_channels: C.
        channels: of the finest level; each further one has twice as many.
        latent_dim: L, length of the codes.
        dropout: rate after every layer.
    """

    def __init__(
        self, spatial_dims: int, in_channels: int, out_channels: int, channels: int, latent_dim: int, dropout: float
    ) -> None:
        super().__init__()
        self.stride = 2**_LEVELS
        widths = [channels * 2**level for level in range(_LEVELS)]
        conv, transposed = (nn.Conv2d, nn.ConvTranspose2d) if spatial_dims == 2 else (nn.Conv3d, nn.ConvTranspose3d)
        self.encoder = nn.ModuleList(
            _finished(spatial_dims, conv(*pair, kernel_size=3, stride=2, padding=1), pair[1], dropout)
            for pair in pairwise([in_channels, *widths])
        )
        inputs = [widths[3], widths[3], widths[2], widths[1]]  # after the first, with a skip of half of them
        widths_up = [widths[2], widths[1], widths[0], widths[0]]
        self.decoder = nn.ModuleList(
            _finished(spatial_dims, transposed(below, width, kernel_size=2, stride=2), width, dropout)
            for below, width in zip(inputs, widths_up, strict=True)
        )
        noisy = [widths[1], widths[0], widths[0]]
        self.noise = nn.ModuleList(NoiseInjection(latent_dim, width) for width in noisy)
        outputs = [widths[1], widths[0], out_channels]
        self.mix = nn.ModuleList(conv(*pair, kernel_size=1) for pair in zip(noisy, outputs, strict=True))

    def forward(self, image: Tensor, latents: Tensor) -> Tensor:
        r"""Logits (B S, C, \*spatial) of inputs (B, in_channels, \*spatial) and codes (B, S, L)."""
        x = image
        skips: list[Tensor] = []
        for block in self.encoder:
            x = block(x)
            skips.append(x)
        x = self.decoder[1](torch.cat([self.decoder[0](x), skips[2]], dim=1))
        x = self._noisy(0, x, latents)
        for step, skip in ((1, skips[1]), (2, skips[0])):
            skip = skip.repeat_interleave(latents.shape[1], dim=0)
            x = self.decoder[step + 1](torch.cat([F.leaky_relu(x), skip], dim=1))
            x = self._noisy(step, x, latents.flatten(0, 1).unsqueeze(1))
        return x

    def _noisy(self, step: int, x: Tensor, latents: Tensor) -> Tensor:
        injection, mix = self.noise[step], self.mix[step]
        assert isinstance(injection, NoiseInjection)
        mixed: Tensor = mix(injection.inject(x, latents))
        return mixed


def _finished(spatial_dims: int, convolution: nn.Module, width: int, dropout: float) -> nn.Sequential:
    norm = nn.BatchNorm2d if spatial_dims == 2 else nn.BatchNorm3d
    return nn.Sequential(convolution, norm(width), nn.LeakyReLU(_SLOPE), nn.Dropout(dropout))
