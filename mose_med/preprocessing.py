"""Preprocessing of CT values.

One frozen object owns this. Training, evaluation and inference use it, every checkpoint carries it, and a mismatch is
refused: a model that was trained on one kind of window is never silently shown another.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from mose_med.errors import ConfigError, ShapeError

__all__ = ["PADDING_HU", "ChannelScaling", "Preprocessing"]

#: Value of voxels beyond the image edge: air.
PADDING_HU = -1024


@dataclass(frozen=True)
class ChannelScaling:
    """What is done to the values of one of several channels.

    Attributes:
        window: lowest and highest value; values outside are clipped. None keeps all values.
        standardise: bring every window to zero mean and unit variance.
        fill: value of voxels beyond the image edge.
    """

    window: tuple[float, float] | None = None
    standardise: bool = True
    fill: float = PADDING_HU

    def __post_init__(self) -> None:
        if self.window is not None:
            object.__setattr__(self, "window", _checked_window("window of a channel", self.window))
        object.__setattr__(self, "fill", float(self.fill))

    def __call__(self, values: Tensor) -> Tensor:
        """Scale windows (..., H, W), each on its own."""
        # Contiguous, since sums round differently in another memory layout: the same window gives the same bits.
        image = values.to(torch.float32).contiguous()
        if self.window is not None:
            image = image.clamp(*self.window)
        if not self.standardise:
            return image
        centred = image - image.mean(dim=(-2, -1), keepdim=True)
        std = centred.square().mean(dim=(-2, -1), keepdim=True).sqrt()
        return torch.where(std > 1e-6, centred / std.clamp_min(1e-6), torch.zeros_like(centred))


@dataclass(frozen=True)
class Preprocessing:
    """Preprocessing: from HU to network input.

    Several channels are treated alike, unless :attr:`channels` says what is done to each.

    Attributes:
        window_hu: lowest and highest HU; values outside are clipped. None keeps all values.
        standardise: scale every window to zero mean and unit variance.
        roi_size: window in voxels of ``spacing_mm`` along i and j.
        orientation: where i, j and k point to when the network looks.
        spacing_mm: in-plane spacing of the window, by the rule of :mod:`mose_med.resampling`; None is the case's own.
        channels: scaling of each channel, instead of ``window_hu`` and ``standardise``; empty treats all alike.
    """

    window_hu: tuple[float, float] | None = None
    standardise: bool = True
    roi_size: tuple[int, int] = (128, 128)
    orientation: str = "LPS"
    spacing_mm: float | None = None
    channels: tuple[ChannelScaling, ...] = ()

    def __post_init__(self) -> None:
        if self.window_hu is not None:
            object.__setattr__(self, "window_hu", _checked_window("window_hu", self.window_hu))
        object.__setattr__(self, "roi_size", tuple(int(v) for v in self.roi_size))
        if len(self.roi_size) != 2 or min(self.roi_size) < 1:
            raise ConfigError(f"roi_size must be two sizes >= 1, got {self.roi_size}")
        if self.spacing_mm is not None:
            object.__setattr__(self, "spacing_mm", float(self.spacing_mm))
            if not 0 < self.spacing_mm < math.inf:
                raise ConfigError(f"spacing_mm must be > 0, or None for the case's own, got {self.spacing_mm}")
        object.__setattr__(self, "channels", tuple(map(_channel_scaling, self.channels)))

    def fills(self, num_channels: int) -> tuple[float, ...]:
        """Value of voxels beyond the image edge, of every channel."""
        return tuple(one.fill for one in self.channels) or (float(PADDING_HU),) * num_channels

    def __call__(self, image_hu: Tensor) -> Tensor:
        """Window and standardise images, each on its own.

        Args:
            image_hu: HU, shape ``(..., H, W)``; the last two axes are one window. The axis before them is that of the
                channels, where :attr:`channels` names some.

        Returns:
            float32 of the same shape; a constant window standardises to 0.

        Raises:
            ShapeError: if there are fewer than two axes, or other channels than :attr:`channels` names.

        Example:
            >>> Preprocessing(window_hu=(-1000, 400))(torch.tensor([[-2000.0, 400.0]]))
            tensor([[-1.,  1.]])
        """
        if image_hu.ndim < 2:
            raise ShapeError(f"image_hu must have at least 2 axes, got shape {tuple(image_hu.shape)}")
        if not self.channels:
            return ChannelScaling(self.window_hu, self.standardise)(image_hu)
        if image_hu.ndim < 3 or image_hu.shape[-3] != len(self.channels):
            rule = f"image_hu must have {len(self.channels)} channels, one for each scaling"
            raise ShapeError(f"{rule}, got shape {tuple(image_hu.shape)}")
        scaled = [scale(values) for scale, values in zip(self.channels, image_hu.unbind(-3), strict=True)]
        return torch.stack(scaled, dim=-3)

    def to_dict(self) -> dict[str, Any]:
        """Plain types only, for checkpoints and provenance; ``channels`` only if they are treated differently."""
        plain: dict[str, Any] = _plain(dataclasses.asdict(self))
        return plain if self.channels else {name: value for name, value in plain.items() if name != "channels"}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Preprocessing:
        """Inverse of :meth:`to_dict`.

        Raises:
            ConfigError: if a key is unknown or a value does not fit.
        """
        unknown = sorted(set(values) - {field.name for field in dataclasses.fields(cls)})
        if unknown:
            raise ConfigError(f"preprocessing has no setting {unknown[0]!r}")
        return cls(**values)

    def require_equal(self, other: Preprocessing, source: str) -> None:
        """Refuse another preprocessing, naming the first setting that differs.

        Raises:
            ConfigError: if ``other`` (of ``source``, a checkpoint for instance) is not the same.
        """
        for field in dataclasses.fields(self):
            mine, theirs = getattr(self, field.name), getattr(other, field.name)
            if mine != theirs:
                raise ConfigError(f"preprocessing {field.name} is {mine} here but {theirs} in {source}: use the same")


def _checked_window(name: str, window: Sequence[float]) -> tuple[float, ...]:
    checked = tuple(float(value) for value in window)
    if len(checked) != 2 or checked[0] >= checked[1]:
        raise ConfigError(f"{name} must be (low, high) with low < high, got {checked}")
    return checked


def _channel_scaling(values: ChannelScaling | Mapping[str, Any]) -> ChannelScaling:
    if isinstance(values, ChannelScaling):
        return values
    unknown = sorted(set(values) - {field.name for field in dataclasses.fields(ChannelScaling)})
    if unknown:
        raise ConfigError(f"channels of preprocessing have no setting {unknown[0]!r}")
    return ChannelScaling(**values)


def _plain(value: Any) -> Any:
    """Tuples as lists, as JSON has them."""
    if isinstance(value, dict):
        return {name: _plain(entry) for name, entry in value.items()}
    return [_plain(entry) for entry in value] if isinstance(value, tuple | list) else value
