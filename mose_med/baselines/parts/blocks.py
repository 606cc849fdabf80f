r"""Layers that the baselines share.

Maps are (B, channels, \*spatial); levels run from 0 (full resolution) to the coarsest, each half as large as the one
before.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from mose_med.networks.backbones.unet import BATCH_NORM_EPS, BATCH_NORM_MOMENTUM

__all__ = [
    "BlockMaker",
    "Encoder",
    "convolution",
    "initialise",
    "joined",
    "normalised_block",
    "relu_block",
    "repeated",
    "upsampled",
    "zero_padded",
]

_BIAS_STD = 1e-3

#: ``block(in_channels, out_channels)``: the layers of one level.
BlockMaker = Callable[[int, int], nn.Module]


def convolution(
    spatial_dims: int, in_channels: int, out_channels: int, kernel_size: int = 3, *, bias: bool = True
) -> nn.Conv2d | nn.Conv3d:
    """Convolution that keeps the size, initialised as :func:`initialise` says."""
    conv = nn.Conv2d if spatial_dims == 2 else nn.Conv3d
    layer = conv(in_channels, out_channels, kernel_size, padding=kernel_size // 2, bias=bias)
    initialise(layer)
    return layer


def initialise(layer: nn.Conv2d | nn.Conv3d | nn.Linear) -> None:
    """Weights He normal by fan-in, bias truncated normal of deviation 0.001, as PHiSeg and both U-Nets begin."""
    nn.init.kaiming_normal_(layer.weight, mode="fan_in", nonlinearity="relu")
    if layer.bias is not None:
        nn.init.trunc_normal_(layer.bias, std=_BIAS_STD, a=-2 * _BIAS_STD, b=2 * _BIAS_STD)


def relu_block(spatial_dims: int, in_channels: int, out_channels: int, convs: int = 3) -> nn.Sequential:
    """3x3 convolutions with ReLU and without normalisation."""
    layers: list[nn.Module] = []
    for pair in pairwise([in_channels] + [out_channels] * convs):
        layers += [convolution(spatial_dims, *pair), nn.ReLU(inplace=True)]
    return nn.Sequential(*layers)


def normalised_block(spatial_dims: int, in_channels: int, out_channels: int, convs: int = 3) -> nn.Sequential:
    """3x3 convolutions without bias, each with batch normalisation and ReLU."""
    norm = nn.BatchNorm2d if spatial_dims == 2 else nn.BatchNorm3d
    layers: list[nn.Module] = []
    for pair in pairwise([in_channels] + [out_channels] * convs):
        layers += [
            convolution(spatial_dims, *pair, bias=False),
            norm(out_channels, eps=BATCH_NORM_EPS, momentum=BATCH_NORM_MOMENTUM),
            nn.ReLU(inplace=True),
        ]
    return nn.Sequential(*layers)


class Encoder(nn.Module):
    """One block per level, with 2x average pooling between the levels.

    Args:
        in_channels: channels of the input.
        channels: channels of each level, finest first.
        block: makes the layers of a level.
    """

    def __init__(self, in_channels: int, channels: tuple[int, ...], block: BlockMaker) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(block(*pair) for pair in pairwise((in_channels, *channels)))

    def forward(self, image: Tensor) -> list[Tensor]:
        """Maps of all levels, finest first; sides of the image are multiples of the coarsest stride."""
        pool = F.avg_pool2d if image.ndim == 4 else F.avg_pool3d
        maps: list[Tensor] = []
        x = image
        for block in self.blocks:
            x = block(pool(x, 2) if maps else x)
            maps.append(x)
        return maps


def joined(x: Tensor, skip: Tensor, *, nearest: bool = False) -> Tensor:
    r"""``x`` at twice its size, linearly or by the nearest neighbour, followed by the channels of ``skip``.

    ``x`` may hold S samples of every image of ``skip``, (B S, channels, \*spatial).
    """
    x = F.interpolate(x, scale_factor=2.0, mode="nearest") if nearest else upsampled(x)
    return torch.cat([x, repeated(skip, len(x) // len(skip))], dim=1)


def upsampled(x: Tensor) -> Tensor:
    """A map at twice its size, linearly interpolated."""
    return F.interpolate(x, scale_factor=2.0, mode="bilinear" if x.ndim == 4 else "trilinear", align_corners=False)


def repeated(maps: Tensor, samples: int) -> Tensor:
    r"""(B, channels, \*spatial) -> (B S, channels, \*spatial): every image for each of its samples."""
    return maps if samples == 1 else maps.repeat_interleave(samples, dim=0)


def zero_padded(maps: Tensor, sides: tuple[int, ...]) -> Tensor:
    """Zeros behind the last voxels until the spatial sides are ``sides``."""
    missing = [wanted - side for wanted, side in zip(sides, maps.shape[-len(sides) :], strict=True)]
    pads = [pad for count in reversed(missing) for pad in (0, count)]
    return F.pad(maps, pads) if any(pads) else maps
