"""The discriminator: whether a mask of an image is a rater's."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor, nn

from mose_med.errors import ShapeError

__all__ = ["Discriminator"]

_SLOPE = 0.2


class Discriminator(nn.Module):
    """Convolutions on image and mask, and one number for both together.

    Args:
        spatial_dims: 2 or 3.
        in_channels: channels of image and mask together.
        image_size: sides of the training windows, which the last layer depends on.
        channels: of the first layers; later ones have up to eight times as many.
    """

    def __init__(self, spatial_dims: int, in_channels: int, image_size: Sequence[int], channels: int) -> None:
        super().__init__()
        self.image_size = tuple(image_size)
        sizes = [in_channels, channels, channels, channels]
        layers = [
            module
            for index in range(3)
            for module in _layer(spatial_dims, sizes[index], sizes[index + 1], kernel_size=3, mode="reflect")
        ]
        layers += _layer(spatial_dims, channels, channels, kernel_size=4, stride=2, padding=2, mode="reflect")
        for factor, wider, stride in ((1, 2, 2), (2, 4, 2), (4, 8, 1)):
            narrow, wide = channels * factor, channels * wider
            layers += _layer(spatial_dims, narrow, wide, kernel_size=4, stride=stride, bias=False)
        layers += _layer(spatial_dims, channels * 8, channels, kernel_size=4)
        self.layers = nn.Sequential(*layers)
        with torch.no_grad():
            found = self.layers(torch.zeros(1, in_channels, *self.image_size)).shape[1:]
        self.score = nn.Linear(math.prod(found), 1)

    def forward(self, pair: Tensor) -> Tensor:
        r"""Logits (B,) that the masks of (B, in_channels, \*image_size) are raters'.

        Raises:
            ShapeError: if the windows have other sides.
        """
        if pair.shape[2:] != self.image_size:
            raise ShapeError(
                f"the discriminator takes windows of {self.image_size}, got {tuple(pair.shape[2:])}: set image_size"
            )
        score: Tensor = self.score(self.layers(pair).flatten(1))
        return score.squeeze(1)


def _layer(
    spatial_dims: int,
    in_channels: int,
    out_channels: int,
    *,
    kernel_size: int,
    stride: int = 1,
    padding: int = 1,
    bias: bool = True,
    mode: Literal["zeros", "reflect"] = "zeros",
) -> list[nn.Module]:
    conv = nn.Conv2d if spatial_dims == 2 else nn.Conv3d
    convolution = conv(in_channels, out_channels, kernel_size, stride, padding, bias=bias, padding_mode=mode)
    return [convolution, nn.LeakyReLU(_SLOPE)]
