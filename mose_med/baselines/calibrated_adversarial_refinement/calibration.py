"""The calibration network: a SegNet whose encoder is that of VGG19 with batch normalisation."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from mose_med.networks.checks import check_channels

__all__ = ["CalibrationNetwork"]

#: Layers of the first two levels, and of all others.
_SHALLOW, _DEEP = 2, 4


class CalibrationNetwork(nn.Module):
    r"""Logits (B, C, \*spatial) of an image whose sides are multiples of :attr:`stride`.

    The layers between the first and the last of a decoder block are one layer, applied repeatedly: so the published
    code has it, and its number of parameters follows from it.

    Args:
        spatial_dims: 2 or 3.
        in_channels: channels of the image.
        out_channels: C.
        channels: of every level, finest first, at least two.
        dropout: rate after every block.

    Raises:
        ConfigError: if channels do not fit.
    """

    def __init__(
        self, spatial_dims: int, in_channels: int, out_channels: int, channels: Sequence[int], dropout: float
    ) -> None:
        super().__init__()
        check_channels(channels)
        self.stride = 2 ** len(channels)
        layers = [_SHALLOW if level < 2 else _DEEP for level in range(len(channels))]
        below = [in_channels, *channels[:-1]]
        self.encoder = nn.ModuleList(
            _encoder_block(spatial_dims, *sizes, dropout) for sizes in zip(below, channels, layers, strict=True)
        )
        top = _coarsest_decoder_block(spatial_dims, channels[-1], channels[-2], layers[-1], dropout)
        widths = list(zip(channels[:-1], [out_channels, *channels[:-2]], layers[:-1], strict=True))
        blocks = [_decoder_block(spatial_dims, *sizes, dropout) for sizes in reversed(widths)]
        self.decoder = nn.ModuleList([top, *blocks])
        conv = nn.Conv2d if spatial_dims == 2 else nn.Conv3d
        self.last = conv(out_channels, out_channels, kernel_size=3, padding=1, padding_mode="reflect")

    def forward(self, image: Tensor) -> Tensor:
        """Logits."""
        x = image
        skips: list[Tensor] = []
        for block in self.encoder:
            x = block(x)
            skips.append(x)
        x = self.decoder[0](x)
        for block, skip in zip(self.decoder[1:], reversed(skips[:-1]), strict=True):
            x = block(torch.cat([skip, x], dim=1))
        logits: Tensor = self.last(x)
        return logits


def _encoder_block(
    spatial_dims: int, in_channels: int, out_channels: int, layers: int, dropout: float
) -> nn.Sequential:
    pool = nn.MaxPool2d if spatial_dims == 2 else nn.MaxPool3d
    sizes = [in_channels] + [out_channels] * layers
    convolutions = [_layer(spatial_dims, sizes[index], sizes[index + 1]) for index in range(layers)]
    return nn.Sequential(*convolutions, pool(kernel_size=2), nn.Dropout(dropout))


def _coarsest_decoder_block(
    spatial_dims: int, in_channels: int, out_channels: int, layers: int, dropout: float
) -> nn.Sequential:
    repeated = _layer(spatial_dims, out_channels, out_channels)
    up = _upsampling(spatial_dims, in_channels, out_channels)
    return nn.Sequential(up, *[repeated] * layers, nn.Dropout(dropout))


def _decoder_block(spatial_dims: int, width: int, out_channels: int, layers: int, dropout: float) -> nn.Sequential:
    """From two maps of ``width`` channels."""
    repeated = [_layer(spatial_dims, width, width)] * (layers - 2)
    first, last = _layer(spatial_dims, 2 * width, width), _layer(spatial_dims, width, out_channels)
    return nn.Sequential(_upsampling(spatial_dims, 2 * width, 2 * width), first, *repeated, last, nn.Dropout(dropout))


def _upsampling(spatial_dims: int, in_channels: int, out_channels: int) -> nn.Module:
    transposed = nn.ConvTranspose2d if spatial_dims == 2 else nn.ConvTranspose3d
    return transposed(in_channels, out_channels, kernel_size=2, stride=2)


def _layer(spatial_dims: int, in_channels: int, out_channels: int) -> nn.Sequential:
    conv, norm = (nn.Conv2d, nn.BatchNorm2d) if spatial_dims == 2 else (nn.Conv3d, nn.BatchNorm3d)
    convolution = conv(in_channels, out_channels, kernel_size=3, padding=1)
    nn.init.kaiming_normal_(convolution.weight, mode="fan_out", nonlinearity="relu")
    return nn.Sequential(convolution, norm(out_channels), nn.ReLU())
