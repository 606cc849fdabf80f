r"""How the baselines are called: samples as a pure function of the image and of standard normal numbers.

Axes: B batch, K experts, S samples per expert, C classes. Case-wide deviates are ``(B, K, S, noise_dim)``; a noise
field is ``(B, K, S, channels, *spatial)``, coarser by its stride.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from mose_med.networks.checks import check_image, check_sizes
from mose_med.networks.memory import spans_at_once
from mose_med.networks.priors import CodeChoice
from mose_med.networks.protocol import NoiseField, checked_deviates, draw_fields, samples_of, standard_deviates
from mose_med.samples import ExpertSamples, RaterMasks

__all__ = ["SampledNetwork"]


class SampledNetwork(nn.Module, ABC):
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
        counts = {"samples_per_expert": samples_per_expert, "training_samples": training_samples}
        check_sizes(spatial_dims, out_channels, in_channels=in_channels, num_experts=num_experts, **counts)
        self.spatial_dims = spatial_dims
        self.in_channels = in_channels
        self.out_channels = out_channels
        self.num_experts = num_experts
        self.noise_dim = noise_dim
        self.samples_per_expert = samples_per_expert
        self.training_samples = training_samples

    @abstractmethod
    def samples_from(self, image: Tensor, deviates: Tensor, fields: Sequence[Tensor] | None = None) -> ExpertSamples:
        r"""Samples of given standard normal numbers.

        Args:
            image: shape (B, in_channels, \*spatial), any sides >= 1.
            deviates: shape (K, S, noise_dim) for the whole batch, or (B, K, S, noise_dim).
            fields: for each field that the network declares (B, K, S, channels, \*ceil(spatial / stride)); zeros if
                None.
        """

    def forward(
        self,
        image: Tensor,
        *,
        samples_per_expert: int | None = None,
        generator: torch.Generator | None = None,
        target: RaterMasks | None = None,
        codes: CodeChoice = "random",
    ) -> Any:
        r"""Samples of numbers drawn here.

        Args:
            image: shape (B, in_channels, \*spatial), any sides >= 1.
            samples_per_expert: S; the network's own number if None.
            generator: CPU generator of all draws; PyTorch's default generator if None.
            target: of the image, in training.
            codes: how the deviates of the whole image are drawn, see
                :func:`~mose_med.networks.protocol.standard_deviates`; those of the fields are always random.

        Returns:
            :class:`~mose_med.samples.ExpertSamples`; with a target what the loss of the method takes.

        Raises:
            ShapeError: if the image does not fit.
            ConfigError: if ``samples_per_expert`` < 1, or there is no such choice of codes.
        """
        check_image(self, image)
        own = self.samples_per_expert if target is None else self.training_samples
        samples = own if samples_per_expert is None else samples_per_expert
        if target is not None:
            return self.training_step(image, target, samples, generator)
        return self._drawn(image, samples, generator, codes)

    def training_step(self, image: Tensor, target: RaterMasks, samples: int, generator: torch.Generator | None) -> Any:
        r"""What the loss of the method takes: the samples, unless a method says otherwise.

        Args:
            image: shape (B, in_channels, \*spatial), checked.
            target: of the image.
            samples: S.
            generator: of all draws.
        """
        return self._drawn(image, samples, generator)

    def _drawn(
        self, image: Tensor, samples: int, generator: torch.Generator | None, codes: CodeChoice = "random"
    ) -> ExpertSamples:
        deviates = standard_deviates(self, samples, len(image), generator, codes)
        return samples_of(self, image, deviates, draw_fields(self, image, samples, generator))

    def sample_spans(self, image: Tensor, samples: int) -> list[slice]:
        r"""Which samples are decoded together; all in training, where batch normalisation sees them all.

        Args:
            image: a batch (B, ..., \*spatial) as large as it is decoded.
            samples: of every image.
        """
        if self.training:
            return [slice(0, samples)]
        return spans_at_once(samples, image[:, 0].numel(), image.device)

    def checked_deviates(self, image: Tensor, deviates: Tensor) -> Tensor:
        """Deviates of every image, (B, K, S, noise_dim).

        Raises:
            ShapeError: if image or deviates do not fit.
        """
        check_image(self, image)
        return checked_deviates(self, deviates, len(image)).to(image.device)
