"""The U-Net that PHiSeg and the stochastic segmentation network build on (Baumgartner et al., MICCAI 2019).

Three 3x3 layers a block, each with batch normalisation and without bias; average pooling, linear upsampling. A decoder
block keeps the width of the level below, and three 1x1 layers of the finest width follow the last one.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from mose_med.networks.backbones.padding import cropped, padded
from mose_med.networks.backbones.unet import BATCH_NORM_EPS, BATCH_NORM_MOMENTUM
from mose_med.networks.checks import check_channels

__all__ = ["LIDC_CHANNELS", "PhisegUNet"]

#: Channels of the published network of seven levels.
LIDC_CHANNELS = (32, 64, 128, 192, 192, 192, 192)
_LAYERS = 3
#: Blocks of the encoder's end, and of the decoder's beginning, that dropout acts on.
_CENTRAL = 2


class PhisegUNet(nn.Module):
    r"""Features (B, channels[0], \*spatial) of an image.

    Args:
        spatial_dims: 2 or 3.
        in_channels: channels of the image.
        channels: of every level, finest first, at least two.

    Attributes:
        central_channels: widths of the blocks whose channels :meth:`forward` can scale.

    Raises:
        ConfigError: if channels do not fit.
    """

    def __init__(self, spatial_dims: int, in_channels: int, channels: Sequence[int]) -> None:
        super().__init__()
        check_channels(channels)
        self.stride = 2 ** (len(channels) - 1)
        self.upsample_mode = "bilinear" if spatial_dims == 2 else "trilinear"
        self.pool = (nn.AvgPool2d if spatial_dims == 2 else nn.AvgPool3d)(kernel_size=2)
        self.encoder = nn.ModuleList(_block(spatial_dims, *pair) for pair in pairwise((in_channels, *channels)))
        deeper = [channels[-1], *reversed(channels[1:])]
        skips = list(reversed(channels[:-1]))
        self.decoder = nn.ModuleList(
            _block(spatial_dims, below + skip, width)
            for (below, width), skip in zip(pairwise(deeper), skips, strict=True)
        )
        self.recombination = _block(spatial_dims, channels[1], channels[0], kernel_size=1)
        self.central_channels = (*channels[-_CENTRAL:], *deeper[1 : 1 + _CENTRAL])

    def forward(self, image: Tensor, factors: Sequence[Tensor] = ()) -> Tensor:
        r"""Features of an image of any sides, which is padded to the stride.

        Args:
            image: shape (B, in_channels, \*spatial).
            factors: of the channels of every central block, (B, S, width) each; with them the result has B S images.
        """
        x = padded(image, self.stride)
        left = list(factors)
        skips: list[Tensor] = []
        for level, block in enumerate(self.encoder):
            x = block(self.pool(x) if level else x)
            if left and level >= len(self.encoder) - _CENTRAL:
                x = _scaled(x, left.pop(0))
            skips.append(x)
        for block, skip in zip(self.decoder, reversed(skips[:-1]), strict=True):
            x = F.interpolate(x, scale_factor=2.0, mode=self.upsample_mode, align_corners=False)
            x = block(torch.cat([x, skip.repeat_interleave(len(x) // len(skip), dim=0)], dim=1))
            if left:
                x = _scaled(x, left.pop(0))
        features: Tensor = self.recombination(x)
        return cropped(features, list(image.shape[2:]))


def _scaled(x: Tensor, factors: Tensor) -> Tensor:
    r"""Every image once per sample, channels scaled: (B, ...) or (B S, ...) with (B, S, width) -> (B S, ...)."""
    per_image = factors.flatten(0, 1)
    x = x.repeat_interleave(len(per_image) // len(x), dim=0)
    return x * per_image[(...,) + (None,) * (x.ndim - 2)]


def _block(spatial_dims: int, in_channels: int, out_channels: int, kernel_size: int = 3) -> nn.Sequential:
    conv, norm = (nn.Conv2d, nn.BatchNorm2d) if spatial_dims == 2 else (nn.Conv3d, nn.BatchNorm3d)
    layers: list[nn.Module] = []
    for pair in pairwise([in_channels] + [out_channels] * _LAYERS):
        convolution = conv(*pair, kernel_size, padding=kernel_size // 2, bias=False)
        nn.init.kaiming_normal_(convolution.weight, mode="fan_in", nonlinearity="relu")
        layers += [convolution, norm(out_channels, eps=BATCH_NORM_EPS, momentum=BATCH_NORM_MOMENTUM), nn.ReLU()]
    return nn.Sequential(*layers)
