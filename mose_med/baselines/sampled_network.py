r"""How the baselines are called: samples as a pure function of the image and of standard normal numbers.

Axes: B batch, K experts, S samples per expert, C classes. Case-wide deviates are ``(B, K, S, noise_dim)``; a noise
field is ``(B, K, S, channels, *spatial)``, coarser by its stride.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from mose_med.errors import ConfigError, ShapeError
from mose_med.networks.protocol import NoiseField, checked_deviates, draw_fields, samples_of, standard_deviates
from mose_med.samples import ExpertSamples, RaterMasks

__all__ = ["SampledNetwork", "cropped_to", "padded_to", "require"]


class SampledNetwork(nn.Module):
    """A network that draws standard normal numbers and turns them into samples by :meth:`samples_from`.

    Args:
        spatial_dims: 2 or 3.
        in_channels: channels of the image.
        out_channels: C, classes with the background.
        num_experts: K.
        noise_dim: numbers that a sample takes for the whole image.
        samples_per_expert: S unless a call says otherwise.
        training_samples: S of a call with a target, unless it says otherwise.

    Raises:
        ConfigError: if a setting does not fit.
    """

    noise_fields: tuple[NoiseField, ...] = ()

    def __init__(
        self,
        spatial_dims: int,
        in_channels: int,
        out_channels: int,
        *,
        num_experts: int = 1,
        noise_dim: int = 0,
        samples_per_expert: int = 1,
        training_samples: int = 1,
    ) -> None:
        super().__init__()
        require(spatial_dims in (2, 3), f"spatial_dims must be 2 or 3, got {spatial_dims}")
        require(out_channels >= 2, f"out_channels must be >= 2 (background and one class), got {out_channels}")
        for name, value in (
            ("in_channels", in_channels),
            ("num_experts", num_experts),
            ("samples_per_expert", samples_per_expert),
            ("training_samples", training_samples),
        ):
            require(value >= 1, f"{name} must be >= 1, got {value}")
        self.spatial_dims = spatial_dims
        self.in_channels = in_channels
        self.out_channels = out_channels
        self.num_experts = num_experts
        self.noise_dim = noise_dim
        self.samples_per_expert = samples_per_expert
        self.training_samples = training_samples

    def samples_from(self, image: Tensor, deviates: Tensor, fields: Sequence[Tensor] | None = None) -> ExpertSamples:
        r"""Samples of given standard normal numbers.

        Args:
            image: shape (B, in_channels, \*spatial), any sides >= 1.
            deviates: shape (K, S, noise_dim) for the whole batch, or (B, K, S, noise_dim).
            fields: one tensor (B, K, S, channels, \*spatial) for every field the network declares; zeros if None.
        """
        raise NotImplementedError

    def forward(
        self,
        image: Tensor,
        *,
        samples_per_expert: int | None = None,
        generator: torch.Generator | None = None,
        target: RaterMasks | None = None,
    ) -> Any:
        r"""Samples of numbers drawn here.

        Args:
            image: shape (B, in_channels, \*spatial), any sides >= 1.
            samples_per_expert: S; the network's own number if None.
            generator: CPU generator of all draws; PyTorch's default generator if None.
            target: of the image, in training.

        Returns:
            :class:`~mose_med.samples.ExpertSamples`; with a target what the loss of the method takes.

        Raises:
            ShapeError: if the image does not fit.
            ConfigError: if ``samples_per_expert`` < 1.
        """
        self.check_image(image)
        samples = self.wanted_samples(samples_per_expert, training=target is not None)
        deviates = standard_deviates(self, samples, len(image), generator)
        return samples_of(self, image, deviates, draw_fields(self, image, samples, generator))

    def wanted_samples(self, samples_per_expert: int | None, *, training: bool) -> int:
        """S of a call: what it says, or the network's own number."""
        own = self.training_samples if training else self.samples_per_expert
        return own if samples_per_expert is None else samples_per_expert

    def check_image(self, image: Tensor) -> None:
        """Refuse what is no image of this network."""
        if image.ndim != self.spatial_dims + 2 or image.shape[1] != self.in_channels or image.numel() == 0:
            axes = " x ".join("HWD"[: self.spatial_dims])
            raise ShapeError(f"image must be B x {self.in_channels} x {axes}, got shape {tuple(image.shape)}")
        if not image.is_floating_point():
            raise ShapeError(f"image must be floating point, got {image.dtype}")

    def checked_deviates(self, image: Tensor, deviates: Tensor) -> Tensor:
        """Deviates of every image, (B, K, S, noise_dim).

        Raises:
            ShapeError: if image or deviates do not fit.
        """
        self.check_image(image)
        return checked_deviates(self, deviates, len(image)).to(image.device)


def padded_to(image: Tensor, stride: int) -> Tensor:
    """Repeat the last voxels until every side is a multiple of ``stride``."""
    pads: list[int] = []
    for side in reversed(image.shape[2:]):
        pads += [0, -side % stride]
    return F.pad(image, pads, mode="replicate") if max(pads) > 0 else image


def cropped_to(maps: Tensor, spatial: Sequence[int]) -> Tensor:
    r"""First voxels of every side of (..., \*spatial): the inverse of the padding."""
    for axis, side in enumerate(spatial, start=-len(spatial)):
        maps = maps.narrow(axis, 0, side)
    return maps


def require(fits: bool, message: str) -> None:
    """Refuse a setting that does not fit.

    Raises:
        ConfigError: with the message.
    """
    if not fits:
        raise ConfigError(message)
