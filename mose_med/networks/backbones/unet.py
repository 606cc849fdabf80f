"""U-Net backbone after PHiSeg (appendix A.1 of the paper).

Levels run from 0 (full resolution) to ``len(channels) - 1`` (coarsest); each is half as large as the one before.
"""

# torch.jit.is_scripting is not an explicit export, and TorchScript takes no "type: ignore" in scripted code.
# mypy: disable-error-code="attr-defined"

from __future__ import annotations

from itertools import pairwise
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from mose_med.networks.short_products import can_fuse, through

__all__ = ["BATCH_NORM_EPS", "BATCH_NORM_MOMENTUM", "ConvLayer", "Features", "UNet"]

#: Batch normalisation of the release, in backbone and head.
BATCH_NORM_EPS = 1e-3
BATCH_NORM_MOMENTUM = 0.01

_CONVS_PER_BLOCK = 3
_BIAS_STD = 1e-3


class Features(NamedTuple):
    r"""Result of a backbone.

    ``global_feature`` (B, F1, \*coarse) is for the gating, ``dense_feature`` (B, F2, \*spatial) for noise and head.
    Where noise enters before the last decoder level, ``skips`` are the encoder maps that the levels after it need.
    """

    global_feature: Tensor
    dense_feature: Tensor
    skips: list[Tensor]


class ConvLayer(nn.Module):
    """3x3 convolution, batch normalisation, ReLU.

    Args:
        spatial_dims: 2 or 3.
        in_channels: channels of the input.
        out_channels: channels of the output.
    """

    def __init__(self, spatial_dims: int, in_channels: int, out_channels: int) -> None:
        super().__init__()
        conv, norm = (nn.Conv2d, nn.BatchNorm2d) if spatial_dims == 2 else (nn.Conv3d, nn.BatchNorm3d)
        self.conv = conv(in_channels, out_channels, kernel_size=3, padding=1)
        self.norm = norm(out_channels, eps=BATCH_NORM_EPS, momentum=BATCH_NORM_MOMENTUM)
        nn.init.kaiming_normal_(self.conv.weight, mode="fan_in", nonlinearity="relu")
        assert self.conv.bias is not None
        nn.init.trunc_normal_(self.conv.bias, std=_BIAS_STD, a=-2 * _BIAS_STD, b=2 * _BIAS_STD)

    def forward(self, x: Tensor) -> Tensor:
        r"""(B, in_channels, \*spatial) -> (B, out_channels, \*spatial)."""
        return F.relu(self.norm(self.conv(x)), inplace=True)


class Block(nn.Sequential):
    """Three such layers, the first of which changes the number of channels.

    Args:
        spatial_dims: 2 or 3.
        in_channels: channels of the input.
        out_channels: channels of the output.
    """

    def __init__(self, spatial_dims: int, in_channels: int, out_channels: int) -> None:
        sizes = [in_channels] + [out_channels] * _CONVS_PER_BLOCK
        super().__init__(*(ConvLayer(spatial_dims, *pair) for pair in pairwise(sizes)))

    def forward(self, x: Tensor, fused: bool = False) -> Tensor:
        r"""(B, in_channels, \*spatial) -> (B, out_channels, \*spatial), each layer in one operation if ``fused``."""
        if not torch.jit.is_scripting():  # noqa: SIM102, TorchScript prunes this form only
            if fused:
                return through(self, x)
        for layer in self:
            x = layer(x)
        return x


class UNet(nn.Module):
    """Encoder-decoder with skip connections.

    Image sides must be multiples of :attr:`stride`; :class:`~mose_med.networks.MoSE` pads to that.

    Args:
        spatial_dims: 2 or 3.
        in_channels: channels of the image.
        channels: channels of each level, finest first, at least two.
        gating_level: encoder level of the global feature, 0 finest; negative counts from the coarsest.
        noise_level: decoder block, 0 coarsest, whose output is the dense feature; negative counts from the last.
        dropout: probability that training drops a channel of the centre: the last two blocks of the encoder and the
            first two of the decoder.
    """

    def __init__(
        self,
        spatial_dims: int,
        in_channels: int,
        channels: tuple[int, ...],
        gating_level: int = -1,
        noise_level: int = -1,
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        self.stride = 2 ** (len(channels) - 1)
        self.gating_level = gating_level % len(channels)
        self.noise_level = noise_level % (len(channels) - 1)
        self.global_channels = channels[self.gating_level]
        self.dense_channels = channels[len(channels) - 2 - self.noise_level]
        self.final_channels = channels[0]
        self.upsample_mode = "bilinear" if spatial_dims == 2 else "trilinear"
        self.pool = (nn.AvgPool2d if spatial_dims == 2 else nn.AvgPool3d)(kernel_size=2, stride=2, ceil_mode=True)
        falling = pairwise((in_channels, *channels))
        self.encoder = nn.ModuleList(Block(spatial_dims, *pair) for pair in falling)
        rising = pairwise(reversed(channels))
        self.decoder = nn.ModuleList(Block(spatial_dims, below + skip, skip) for below, skip in rising)
        self.central_blocks = 2  # of encoder and of decoder
        self.dropout: nn.Module = nn.Identity()
        if dropout > 0:
            self.dropout = (nn.Dropout2d if spatial_dims == 2 else nn.Dropout3d)(dropout)

    def forward(self, image: Tensor) -> Features:
        r"""(B, in_channels, \*spatial) -> encoder map of the gating level, decoder map of the noise level."""
        fused = False if torch.jit.is_scripting() else self._can_fuse(image)
        x = image
        skips: list[Tensor] = []
        for level, block in enumerate(self.encoder):
            if level > 0:
                x = self.pool(x)
            x = block(x, fused)
            if level >= len(self.encoder) - self.central_blocks:
                x = self.dropout(x)
            skips.append(x)
        global_feature = skips[self.gating_level]
        for depth, block in enumerate(self.decoder):
            if depth <= self.noise_level:
                x = block(self._joined(x, skips[len(skips) - 2 - depth]), fused)
                if depth < self.central_blocks:
                    x = self.dropout(x)
        return Features(global_feature, x, skips[: len(skips) - 2 - self.noise_level])

    def finish(self, dense: Tensor, skips: list[Tensor]) -> Tensor:
        """Decoder map at full resolution from one at the noise level; ``skips`` as in :class:`Features`."""
        x = dense
        for depth, block in enumerate(self.decoder):
            if depth > self.noise_level:
                x = block(self._joined(x, skips[len(self.decoder) - 1 - depth]))
                if depth < self.central_blocks:
                    x = self.dropout(x)
        return x

    @torch.jit.unused
    def _can_fuse(self, image: Tensor) -> bool:
        return can_fuse([layer for block in (*self.encoder, *self.decoder) for layer in block.children()], image)

    def _joined(self, x: Tensor, skip: Tensor) -> Tensor:
        x = F.interpolate(x, scale_factor=2.0, mode=self.upsample_mode, align_corners=False)
        return torch.cat([x, skip], dim=1)
