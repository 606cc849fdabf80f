"""What every network checks: its sizes when it is built, and the image of a call."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from torch import Tensor

from mose_med.errors import ShapeError, require

__all__ = ["check_channels", "check_image", "check_sizes"]


class _TakesImages(Protocol):
    @property
    def spatial_dims(self) -> int: ...

    @property
    def in_channels(self) -> int: ...


def check_sizes(spatial_dims: int, out_channels: int, **counts: int) -> None:
    """Refuse sizes that no network can have.

    Args:
        spatial_dims: 2 or 3.
        out_channels: C, at least 2.
        **counts: settings by name that must be at least 1.

    Raises:
        ConfigError: naming the first that does not fit.
    """
    require(spatial_dims in (2, 3), f"spatial_dims must be 2 or 3, got {spatial_dims}")
    require(out_channels >= 2, f"out_channels must be >= 2 (background and one class), got {out_channels}")
    for name, value in counts.items():
        require(value >= 1, f"{name} must be >= 1, got {value}")


def check_channels(channels: Sequence[int]) -> None:
    """Refuse channels by level that no U-Net can have.

    Raises:
        ConfigError: if there are fewer than two levels, or a level has no channel.
    """
    require(len(channels) >= 2, f"channels must name at least 2 levels, got {tuple(channels)}")
    require(min(channels) >= 1, f"channels must be >= 1 on every level, got {tuple(channels)}")


def check_image(network: _TakesImages, image: Tensor) -> None:
    """Refuse an image that does not fit a network.

    Raises:
        ShapeError: if axes, channels or type do not fit.
    """
    if image.ndim != network.spatial_dims + 2 or image.shape[1] != network.in_channels or image.numel() == 0:
        axes = " x ".join("HWD"[: network.spatial_dims])
        raise ShapeError(f"image must be B x {network.in_channels} x {axes}, got shape {tuple(image.shape)}")
    if not image.is_floating_point():
        raise ShapeError(f"image must be floating point, got {image.dtype}")
