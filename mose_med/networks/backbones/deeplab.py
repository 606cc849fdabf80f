"""DeepLabv3+ backbone (appendix B.5 of the paper) on MONAI's ResNet, dilated to output stride 16.

Encoder: ResNet, then atrous spatial pyramid pooling (ASPP). Decoder: ASPP upsampled to stride 4, joined with the first
stage of the encoder, two 3x3 layers, upsampled to the image.

Departure: the image-pooling branch has no batch normalisation, so that a batch of one image can be trained on.
"""

from __future__ import annotations

from typing import TypeGuard

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from mose_med.networks.backbones.unet import BATCH_NORM_EPS, BATCH_NORM_MOMENTUM, Features

__all__ = ["DeepLabV3Plus"]

_RESNET_101 = (3, 4, 23, 3)
_WIDTHS = (64, 128, 256, 512)
_EXPANSION = 4
_MULTI_GRID = (1, 2, 4)
_ASPP_RATES = (1, 6, 12, 18)
_ASPP_CHANNELS = 256
_SKIP_CHANNELS = 48


class DeepLabV3Plus(nn.Module):
    """Backbone whose global feature is the ASPP output.

    Args:
        spatial_dims: 2 or 3.
        in_channels: channels of the image.
        dense_channels: channels of the dense feature.
        layers: bottleneck blocks of the four ResNet stages; ResNet-101 by default.
    """

    def __init__(
        self, spatial_dims: int, in_channels: int, dense_channels: int, layers: tuple[int, int, int, int] = _RESNET_101
    ) -> None:
        # MONAI takes seconds to import, and only this backbone needs it.
        from monai.networks.nets.resnet import ResNet

        super().__init__()
        self.stride = 16
        self.global_channels = _ASPP_CHANNELS
        self.dense_channels = dense_channels
        self.upsample_mode = "bilinear" if spatial_dims == 2 else "trilinear"
        resnet = ResNet(
            "bottleneck",
            list(layers),
            list(_WIDTHS),
            spatial_dims=spatial_dims,
            n_input_channels=in_channels,
            conv1_t_stride=2,
            feed_forward=False,
            bias_downsample=False,
        )
        _dilate(resnet.layer4)
        self.stem = nn.Sequential(resnet.conv1, resnet.bn1, resnet.act, resnet.maxpool)
        self.stages = nn.ModuleList([resnet.layer1, resnet.layer2, resnet.layer3, resnet.layer4])
        self.aspp = _PyramidPooling(spatial_dims, _WIDTHS[3] * _EXPANSION)
        self.skip = _layer(spatial_dims, _WIDTHS[0] * _EXPANSION, _SKIP_CHANNELS, kernel_size=1)
        self.decoder = nn.Sequential(
            _layer(spatial_dims, _ASPP_CHANNELS + _SKIP_CHANNELS, _ASPP_CHANNELS),
            _layer(spatial_dims, _ASPP_CHANNELS, dense_channels),
        )

    def forward(self, image: Tensor) -> Features:
        r"""(B, in_channels, \*spatial), sides multiples of 16 -> ASPP output and dense feature at full resolution."""
        x = self.stem(image)
        early = x
        for index, stage in enumerate(self.stages):
            x = stage(x)
            if index == 0:
                early = x
        pyramid = self.aspp(x)
        x = F.interpolate(pyramid, scale_factor=4.0, mode=self.upsample_mode, align_corners=False)
        x = self.decoder(torch.cat([x, self.skip(early)], dim=1))
        dense = F.interpolate(x, scale_factor=4.0, mode=self.upsample_mode, align_corners=False)
        return Features(pyramid, dense, [])


class _PyramidPooling(nn.Module):
    """Parallel convolutions of growing dilation and a pooled branch, merged by a 1x1 layer."""

    def __init__(self, spatial_dims: int, in_channels: int) -> None:
        super().__init__()
        first, *others = _ASPP_RATES
        branches = [_layer(spatial_dims, in_channels, _ASPP_CHANNELS, kernel_size=1, dilation=first)]
        branches += [_layer(spatial_dims, in_channels, _ASPP_CHANNELS, dilation=rate) for rate in others]
        self.branches = nn.ModuleList(branches)
        self.pooled = nn.Linear(in_channels, _ASPP_CHANNELS)
        self.merge = _layer(spatial_dims, _ASPP_CHANNELS * (len(_ASPP_RATES) + 1), _ASPP_CHANNELS, kernel_size=1)

    def forward(self, x: Tensor) -> Tensor:
        maps = [branch(x) for branch in self.branches]
        pooled = F.relu(self.pooled(x.flatten(2).mean(dim=2)))
        for _ in range(x.dim() - 2):
            pooled = pooled.unsqueeze(-1)
        maps.append(pooled.expand_as(maps[0]))
        merged: Tensor = self.merge(torch.cat(maps, dim=1))
        return merged


def _layer(
    spatial_dims: int, in_channels: int, out_channels: int, kernel_size: int = 3, dilation: int = 1
) -> nn.Sequential:
    conv, norm = (nn.Conv2d, nn.BatchNorm2d) if spatial_dims == 2 else (nn.Conv3d, nn.BatchNorm3d)
    padding = dilation * (kernel_size // 2)
    convolution = conv(in_channels, out_channels, kernel_size, padding=padding, dilation=dilation, bias=False)
    nn.init.kaiming_normal_(convolution.weight, mode="fan_in", nonlinearity="relu")
    return nn.Sequential(convolution, norm(out_channels, eps=BATCH_NORM_EPS, momentum=BATCH_NORM_MOMENTUM), nn.ReLU())


def _dilate(stage: nn.Sequential) -> None:
    """Keep the resolution of a stage that would halve it, and dilate its 3x3 convolutions instead."""
    for module in stage.modules():
        if _is_convolution(module):
            module.stride = (1,) * len(module.stride)
    wide = [module for module in stage.modules() if _is_convolution(module) and max(module.kernel_size) > 1]
    for index, convolution in enumerate(wide):  # one a block
        rate = 2 * _MULTI_GRID[index % len(_MULTI_GRID)]
        convolution.dilation = convolution.padding = (rate,) * len(convolution.stride)


def _is_convolution(module: nn.Module) -> TypeGuard[nn.Conv2d | nn.Conv3d]:
    return isinstance(module, (nn.Conv2d, nn.Conv3d))
