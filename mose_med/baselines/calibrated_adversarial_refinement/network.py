"""The three networks of the method, and the training input of each, in one pass."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor
from torch.func import functional_call

from mose_med.baselines.calibrated_adversarial_refinement.calibration import CalibrationNetwork
from mose_med.baselines.calibrated_adversarial_refinement.discriminator import Discriminator
from mose_med.baselines.calibrated_adversarial_refinement.generator import RefinementNetwork
from mose_med.baselines.parts.likelihood import drawn_rater
from mose_med.baselines.parts.sampled_network import SampledNetwork
from mose_med.errors import require
from mose_med.networks.backbones.padding import cropped, padded
from mose_med.networks.protocol import standard_deviates
from mose_med.networks.registry import register
from mose_med.overlap import class_indicators
from mose_med.samples import ExpertSamples, RaterMasks

__all__ = ["AdversarialOutput", "CalibratedAdversarialRefinement"]

#: Channels of VGG19.
_VGG_CHANNELS = (64, 128, 256, 512, 512)


class AdversarialOutput(NamedTuple):
    r"""What the loss takes.

    Attributes:
        calibrated: logits of the calibration network, (B, C, \*spatial).
        samples: of the generator, which the calibration network gets no gradient from.
        rater: index of the rater drawn for each image, (B,).
        fooled: logits (B S,) that samples are raters' masks; no gradient reaches the discriminator.
        fake: logits (B,) that the first sample is a rater's mask; no gradient reaches the generator.
        real: logits (B,) that the rater's mask is one.
        gradient_penalty: squared gradient (B,) of ``real`` with respect to the discriminator's input.
    """

    calibrated: Tensor
    samples: ExpertSamples
    rater: Tensor
    fooled: Tensor
    fake: Tensor
    real: Tensor
    gradient_penalty: Tensor


@register("calibrated_adversarial_refinement")
class CalibratedAdversarialRefinement(SampledNetwork):
    """Calibration network, generator and discriminator; the last is for training alone.

    Args:
        spatial_dims: 2 or 3.
        in_channels: channels of the image.
        out_channels: C, classes with the background.
        channels: of each level of the calibration network, finest first.
        refinement_channels: of the generator's finest level.
        discriminator_channels: of the discriminator's first layers.
        latent_dim: L, length of the codes.
        image_size: sides of the training windows.
        dropout: rate in calibration network and generator.
        samples_per_expert: S unless a call says otherwise.
        training_samples: samples of an image whose mean is calibrated.

    Raises:
        ConfigError: if a setting does not fit.
    """

    def __init__(
        self,
        spatial_dims: int = 2,
        in_channels: int = 1,
        out_channels: int = 2,
        channels: Sequence[int] = _VGG_CHANNELS,
        refinement_channels: int = 32,
        discriminator_channels: int = 64,
        latent_dim: int = 8,
        image_size: Sequence[int] = (128, 128),
        dropout: float = 0.1,
        samples_per_expert: int = 16,
        training_samples: int = 5,
    ) -> None:
        super().__init__(
            spatial_dims,
            in_channels,
            out_channels,
            noise_dim=latent_dim,
            samples_per_expert=samples_per_expert,
            training_samples=training_samples,
        )
        require(latent_dim >= 1, f"latent_dim must be >= 1, got {latent_dim}")
        fits = len(image_size) == spatial_dims and min(image_size) >= 32
        require(fits, f"image_size must be {spatial_dims} sides of at least 32, got {tuple(image_size)}")
        both = in_channels + out_channels
        self.calibration = CalibrationNetwork(spatial_dims, in_channels, out_channels, channels, dropout)
        self.generator = RefinementNetwork(spatial_dims, both, out_channels, refinement_channels, latent_dim, dropout)
        self.discriminator = Discriminator(spatial_dims, both, image_size, discriminator_channels)

    def samples_from(self, image: Tensor, deviates: Tensor, fields: Sequence[Tensor] | None = None) -> ExpertSamples:
        """Samples of given numbers; arguments are those of :meth:`SampledNetwork.samples_from`."""
        deviates = self.checked_deviates(image, deviates)
        _, logits = self._calibrated_and_refined(image, deviates[:, 0])
        return ExpertSamples(logits.unsqueeze(1), logits.new_ones(len(image), 1).float())

    def training_step(
        self, image: Tensor, target: RaterMasks, samples: int, generator: torch.Generator | None
    ) -> AdversarialOutput:
        """What each of the three networks learns from."""
        drawn = standard_deviates(self, samples, len(image), generator)
        calibrated, logits = self._calibrated_and_refined(image, drawn[:, 0].to(image.device))
        rater = drawn_rater(target, generator)
        chosen = target.masks[torch.arange(len(image), device=image.device), rater]
        return AdversarialOutput(
            calibrated,
            ExpertSamples(logits.unsqueeze(1), logits.new_ones(len(image), 1).float()),
            rater,
            *self._discriminated(image, logits, chosen),
        )

    def _calibrated_and_refined(self, image: Tensor, latents: Tensor) -> tuple[Tensor, Tensor]:
        r"""Logits of the calibration network and, for codes (B, S, L), of the generator: (B, S, C, \*spatial)."""
        enlarged = padded(image, max(self.calibration.stride, self.generator.stride))
        calibrated: Tensor = self.calibration(enlarged)
        probs = calibrated.detach().float().softmax(dim=1).to(image.dtype)
        both, spatial = torch.cat([enlarged, probs], dim=1), list(image.shape[2:])
        refined = [
            cropped(self.generator(both, latents[:, span].to(image.dtype)), spatial).reshape(
                len(image), -1, self.out_channels, *spatial
            )
            for span in self.sample_spans(enlarged, latents.shape[1])
        ]
        return cropped(calibrated, spatial), torch.cat(refined, dim=1)

    def _discriminated(self, image: Tensor, logits: Tensor, mask: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """``fooled``, ``fake``, ``real`` and ``gradient_penalty`` in single precision, also under autocast."""
        with torch.autocast(image.device.type, enabled=False):
            image = image.to(self.discriminator.score.weight.dtype)
            probs = logits.to(image.dtype).softmax(dim=2)
            frozen = {name: value.detach() for name, value in self.discriminator.named_parameters()}
            many = image.repeat_interleave(logits.shape[1], dim=0)
            fooled: Tensor = functional_call(
                self.discriminator, frozen, (torch.cat([many, probs.flatten(0, 1)], dim=1),)
            )
            fake = self.discriminator(torch.cat([image, probs[:, 0].detach()], dim=1))
            one_hot = class_indicators(mask.unsqueeze(1), range(self.out_channels), image.dtype)
            shown = torch.cat([image, one_hot.reshape(probs[:, 0].shape)], dim=1).requires_grad_()
            real = self.discriminator(shown)
            (slope,) = torch.autograd.grad(real.sum(), shown, create_graph=True)
            return fooled, fake, real, slope.square().flatten(1).sum(dim=1)
