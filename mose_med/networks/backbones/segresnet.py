"""MONAI's SegResNet (Myronenko, BrainLes 2018) as a backbone: residual blocks with group normalisation.

No layer mixes the images of a batch, and none has running statistics, so that an average of the weights is a network of
its own.

Departures: Swish instead of ReLU, and normalisation and Swish also before the gating, since the sum of a residual block
has neither.
"""

from __future__ import annotations

import math

from torch import Tensor, nn

from mose_med.networks.backbones.unet import Features

__all__ = ["SegResNetBackbone"]

_BLOCKS_DOWN = (1, 2, 2, 4)
_BLOCKS_UP = (1, 1, 1)
_GROUPS = 8


class SegResNetBackbone(nn.Module):
    """Backbone whose global feature is the coarsest map.

    Args:
        spatial_dims: 2 or 3.
        in_channels: channels of the image.
        dense_channels: channels of the dense feature and of the finest level; each further level has twice as many.
    """

    def __init__(self, spatial_dims: int, in_channels: int, dense_channels: int) -> None:
        # MONAI takes seconds to import, and few backbones need it.
        from monai.networks.blocks.activation import Swish
        from monai.networks.nets.segresnet import SegResNet

        super().__init__()
        self.stride = 2 ** len(_BLOCKS_UP)
        self.global_channels = dense_channels * self.stride
        self.dense_channels = dense_channels
        groups = math.gcd(_GROUPS, dense_channels)
        self.network = SegResNet(
            spatial_dims,
            dense_channels,
            in_channels,
            dense_channels,
            act="SWISH",
            norm=("GROUP", {"num_groups": groups}),
            blocks_down=_BLOCKS_DOWN,
            blocks_up=_BLOCKS_UP,
        )
        self.coarsest = nn.Sequential(nn.GroupNorm(groups, self.global_channels), Swish())

    def forward(self, image: Tensor) -> Features:
        r"""(B, in_channels, \*spatial), sides multiples of 8 -> coarsest map and dense feature at full resolution."""
        x, maps = self.network.encode(image)
        maps.reverse()
        return Features(self.coarsest(x), self.network.decode(x, maps), [])
