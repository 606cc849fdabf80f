"""The choice of a backbone, and what one must have."""

from __future__ import annotations

from typing import Protocol

from torch import nn

from mose_med.errors import ConfigError, require
from mose_med.networks.backbones.deeplab import DeepLabV3Plus
from mose_med.networks.backbones.segresnet import SegResNetBackbone
from mose_med.networks.backbones.unet import UNet

__all__ = ["NAMES", "Backbone", "choose_backbone"]

#: Of the backbones that are part of the package.
NAMES = ("unet", "deeplabv3plus", "segresnet")


class Backbone(Protocol):
    r"""What MoSE requires of a backbone: a module that returns (global feature, dense feature).

    The global feature is (B, global_channels, \*any) or (B, global_channels), the dense feature (B, dense_channels,
    \*spatial). Before the call, sides of the image are padded to multiples of ``stride``, 1 where there is none, and
    the dense feature is cropped back.
    """

    global_channels: int
    dense_channels: int
    stride: int


def choose_backbone(
    backbone: str | nn.Module,
    spatial_dims: int,
    in_channels: int,
    channels: tuple[int, ...],
    *,
    gating_level: int,
    noise_level: int,
    dropout: float,
) -> nn.Module:
    """A backbone by its name, or the given module if it says what it returns.

    Args:
        backbone: a name of :data:`NAMES`, or a module. ``"deeplabv3plus"`` and ``"segresnet"`` have a dense feature
            of ``channels[0]`` channels.
        spatial_dims: 2 or 3.
        in_channels: channels of the image.
        channels: of the levels of the U-Net, finest first.
        gating_level: of the U-Net, -1 for all others.
        noise_level: likewise.
        dropout: of the U-Net, 0 for all others.

    Raises:
        ConfigError: if a setting does not fit.
    """
    if backbone == "unet":
        _require_level("gating_level", gating_level, len(channels))
        _require_level("noise_level", noise_level, len(channels) - 1)
        require(0 <= dropout < 1, f"dropout must be in [0, 1), got {dropout}")
        return UNet(spatial_dims, in_channels, channels, gating_level, noise_level, dropout)
    of_unet = {"gating_level": (gating_level, -1), "noise_level": (noise_level, -1), "dropout": (dropout, 0)}
    for name, (value, default) in of_unet.items():
        require(value == default, f"{name}={value} applies only to backbone='unet'")
    if backbone == "deeplabv3plus":
        return DeepLabV3Plus(spatial_dims, in_channels, channels[0])
    if backbone == "segresnet":
        return SegResNetBackbone(spatial_dims, in_channels, channels[0])
    if not isinstance(backbone, nn.Module):
        raise ConfigError(f"backbone must be {', '.join(map(repr, NAMES))} or a module, got {backbone!r}")
    for name in ("global_channels", "dense_channels"):
        require(hasattr(backbone, name), f"backbone {type(backbone).__name__} must have the attribute {name}")
    return backbone


def _require_level(name: str, level: int, levels: int) -> None:
    require(-levels <= level < levels, f"{name} must be in [{-levels}, {levels - 1}], got {level}")
