r"""How a latent-variable network is called.

It has a prior p(z | image) and a posterior q(z | image, mask) and maps image and z to logits. Each training step draws
one rater an image, by the raters' weights, and one z from the posterior. Sampling takes z from the prior, at standard
normal deviates that the caller gives, so that samples are a pure function of image and deviates.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

from mose_med.baselines.parts.blocks import zero_padded
from mose_med.baselines.parts.evidence import VariationalOutput, masks_of
from mose_med.baselines.parts.likelihood import drawn_rater
from mose_med.baselines.parts.sampled_network import SampledNetwork
from mose_med.errors import ShapeError
from mose_med.losses.targets import checked_raters
from mose_med.networks.backbones.padding import cropped, padded
from mose_med.networks.protocol import (
    NoiseField,
    checked_fields,
    field_sides,
)
from mose_med.overlap import class_indicators
from mose_med.samples import ExpertSamples, RaterMasks

__all__ = ["LatentNetwork", "SeenMask"]


class SeenMask(NamedTuple):
    r"""The mask that a training step sees: ``indicators`` of every class (B, C, \*spatial), and whose it is.

    ``rater`` (B,) holds the index of each image's rater, on the CPU.
    """

    indicators: Tensor
    rater: Tensor


class LatentNetwork(SampledNetwork):
    """A network with a latent variable; subclasses say how image and latents become logits.

    Args:
        spatial_dims: 2 or 3.
        in_channels: channels of the image.
        out_channels: C, classes with the background.
        channels: channels of each level, finest first.
        samples_per_expert: S unless a call says otherwise.
        noise_dim: deviates that hold for the whole image.
        noise_fields: maps of deviates that the network also takes.

    Raises:
        ConfigError: if a setting does not fit.
    """

    def __init__(
        self,
        *,
        spatial_dims: int,
        in_channels: int,
        out_channels: int,
        channels: tuple[int, ...],
        samples_per_expert: int,
        noise_dim: int,
        noise_fields: tuple[NoiseField, ...] = (),
    ) -> None:
        super().__init__(
            spatial_dims, in_channels, out_channels, noise_dim=noise_dim, samples_per_expert=samples_per_expert
        )
        self.noise_fields = noise_fields
        self.stride = 2 ** (len(channels) - 1)

    def samples_from(self, image: Tensor, deviates: Tensor, fields: Sequence[Tensor] | None = None) -> ExpertSamples:
        r"""Samples of the prior at standard normal deviates.

        Args:
            image: shape (B, in_channels, \*spatial).
            deviates: those of the whole image, shape (1, S, noise_dim) or (B, 1, S, noise_dim).
            fields: for each of ``noise_fields`` its deviates (B, 1, S, channels, \*ceil(spatial / stride)); None for
                zeros.

        Raises:
            ShapeError: if a shape does not fit.
        """
        deviates = self.checked_deviates(image, deviates)[:, 0]
        maps = checked_fields(self, fields, image, deviates.shape[1])
        enlarged = padded(image, self.stride)
        sides = [field_sides(field, enlarged.shape[2:]) for field in self.noise_fields]
        whole = [zero_padded(part[:, 0], cells) for part, cells in zip(maps, sides, strict=True)]
        encoded = self.encode(enlarged)
        pieces = [
            self.decode(encoded, deviates[:, span], [part[:, span].flatten(0, 1) for part in whole])
            for span in self.sample_spans(enlarged, deviates.shape[1])
        ]
        logits = cropped(torch.cat(pieces, dim=1), list(image.shape[2:]))
        return ExpertSamples(logits.unsqueeze(1), torch.ones(len(image), 1, device=image.device))

    @abstractmethod
    def encode(self, image: Tensor) -> Any:
        """What does not depend on the noise, of an image whose sides are multiples of the stride."""

    @abstractmethod
    def decode(self, encoded: Any, deviates: Tensor, fields: list[Tensor]) -> Tensor:
        r"""Logits (B, S, C, \*spatial) of some samples.

        Args:
            encoded: what :meth:`encode` gives.
            deviates: shape (B, S, noise_dim).
            fields: for each noise field (B S, channels, \*spatial / stride).
        """

    @abstractmethod
    def training_output(self, image: Tensor, seen: SeenMask, generator: torch.Generator | None) -> VariationalOutput:
        r"""What the loss takes, of an image whose sides are multiples of the stride.

        Args:
            image: shape (B, in_channels, \*spatial).
            seen: the mask, of the same sides.
            generator: of the posterior's deviates.
        """

    def training_step(
        self, image: Tensor, target: RaterMasks, samples: int, generator: torch.Generator | None
    ) -> VariationalOutput:
        """The posterior's sample of one rater per image, drawn by weight; ``samples`` has no effect."""
        raters = checked_raters(target, None)
        masks = raters.masks
        if (len(masks), *masks.shape[2:]) != (len(image), *image.shape[2:]):
            raise ShapeError(f"target must have the image's sides {tuple(image.shape[2:])}, got {tuple(masks.shape)}")
        rater = drawn_rater(raters, generator).cpu()
        chosen = masks_of(masks, rater).unsqueeze(1)
        indicators = class_indicators(chosen, range(self.out_channels), image.dtype)
        indicators = indicators.view(len(image), self.out_channels, *image.shape[2:])
        seen = SeenMask(padded(indicators, self.stride), rater)
        output = self.training_output(padded(image, self.stride), seen, generator)
        spatial = list(image.shape[2:])
        return output._replace(
            logits=cropped(output.logits, spatial),
            partial_logits=tuple(cropped(logits, spatial) for logits in output.partial_logits),
            prior_logits=None if output.prior_logits is None else cropped(output.prior_logits, spatial),
        )
