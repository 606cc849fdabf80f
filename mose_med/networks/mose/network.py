"""The mixture of stochastic experts (section 3.2 of the paper).

Axes: B batch, K experts, S samples per expert, N samples in all, C classes, L latent dimensions, F feature channels.
"""

# torch.jit.is_scripting is not an explicit export, and TorchScript takes no "type: ignore" in scripted code.
# mypy: disable-error-code="attr-defined"

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor, nn

from mose_med.errors import ShapeError, require
from mose_med.networks.backbones.choice import choose_backbone
from mose_med.networks.backbones.padding import cropped, padded
from mose_med.networks.backbones.unet import Features
from mose_med.networks.checks import check_channels, check_image, check_sizes
from mose_med.networks.encoded import EncodedImages, PlainImages
from mose_med.networks.mose.encoded import EncodedByMoSE
from mose_med.networks.mose.parts import expert_gating, expert_head, expert_priors
from mose_med.networks.noise import CodeMaps, NoiseInjection
from mose_med.networks.priors import CodeChoice
from mose_med.networks.protocol import checked_deviates
from mose_med.networks.registry import register
from mose_med.samples import ExpertSamples, RaterMasks, WeightedSamples

__all__ = ["MoSE"]


@register("mose")
class MoSE(nn.Module):
    """Distribution of segmentations of an image, as K experts that each draw samples.

    Args:
        spatial_dims: 2 or 3.
        in_channels: channels of the image.
        out_channels: C, classes with the background.
        channels: channels of each U-Net level, finest first; the first is also the width of the head.
        num_experts: K.
        latent_dim: L.
        samples_per_expert: S unless a call says otherwise.
        head: ``"release"`` as in the published code, ``"paper"`` as in the paper.
        gating_level: encoder level that the gating looks at, 0 finest; -1 is the coarsest.
        noise_level: decoder level after which the noise enters, 0 coarsest; -1 is the last. Every level after it runs
            once per sample.
        backbone: ``"unet"``, ``"deeplabv3plus"`` or ``"segresnet"`` (whose dense features have ``channels[0]``
            channels), or a module as :class:`~mose_med.networks.Backbone` describes; levels and dropout are settings
            of the U-Net.
        gating: ``"learned"`` from the image, or ``"uniform"``: every expert has probability 1/K.
        experts: ``"stochastic"``, or ``"deterministic"``: every code is the mean of its expert's prior, so that all
            samples of an expert are the same.
        dropout: probability that training drops a channel of the U-Net's central blocks.
        expert_groups: of a network whose experts were merged, the expert that each output of the gating belongs to,
            numbered from 0; None if every output is its own expert.

    Raises:
        ConfigError: if a setting does not fit.

    Example:
        >>> network = MoSE(channels=(8, 16), num_experts=3).eval()
        >>> samples = network(torch.zeros(1, 1, 9, 6), samples_per_expert=2)
        >>> samples.logits.shape, samples.expert_probs.shape
        (torch.Size([1, 3, 2, 2, 9, 6]), torch.Size([1, 3]))
    """

    __jit_unused_properties__: ClassVar = ["is_deterministic"]
    # TorchScript then leaves out what only the U-Net has.
    __constants__: ClassVar = ["noise_is_early"]

    def __init__(
        self,
        spatial_dims: int = 2,
        in_channels: int = 1,
        out_channels: int = 2,
        channels: tuple[int, ...] = (32, 64, 128, 192, 192, 192, 192),
        num_experts: int = 4,
        latent_dim: int = 1,
        samples_per_expert: int = 4,
        head: Literal["release", "paper"] = "release",
        gating_level: int = -1,
        noise_level: int = -1,
        backbone: Literal["unet", "deeplabv3plus", "segresnet"] | nn.Module = "unet",
        *,
        gating: Literal["learned", "uniform"] = "learned",
        experts: Literal["stochastic", "deterministic"] = "stochastic",
        dropout: float = 0.0,
        expert_groups: Sequence[int] | None = None,
    ) -> None:
        super().__init__()
        channels = tuple(channels)
        counts = {"num_experts": num_experts, "latent_dim": latent_dim, "samples_per_expert": samples_per_expert}
        check_sizes(spatial_dims, out_channels, in_channels=in_channels, **counts)
        check_channels(channels)
        self.spatial_dims = spatial_dims
        self.in_channels = in_channels
        self.out_channels = out_channels
        self.num_experts = num_experts
        self.latent_dim = latent_dim
        self.noise_dim = latent_dim
        self.samples_per_expert = samples_per_expert
        levels = {"gating_level": gating_level, "noise_level": noise_level}
        self.backbone: Any
        self.backbone = choose_backbone(backbone, spatial_dims, in_channels, channels, **levels, dropout=dropout)
        self.noise_is_early = backbone == "unet" and noise_level not in (-1, len(channels) - 2)
        self.stride = int(getattr(self.backbone, "stride", 1))
        dense_channels = int(self.backbone.dense_channels)
        self.priors = expert_priors(experts, num_experts, latent_dim)
        self.gating = expert_gating(gating, int(self.backbone.global_channels), num_experts, expert_groups)
        self.noise = NoiseInjection(latent_dim, dense_channels)
        self.head = expert_head(
            head, int(getattr(self.backbone, "final_channels", dense_channels)), out_channels, latent_dim
        )

    def forward(
        self,
        image: Tensor,
        samples_per_expert: int | None = None,
        generator: torch.Generator | None = None,
        latents: Tensor | None = None,
        codes: CodeChoice = "random",
        target: RaterMasks | None = None,
    ) -> ExpertSamples:
        r"""Draw S samples from every expert: the compact form.

        Args:
            image: shape (B, in_channels, \*spatial), any sides >= 1.
            samples_per_expert: S; the network's own number if None.
            generator: CPU generator of the latent codes; PyTorch's default generator if None.
            latents: codes, shape (K, S, L) for the whole batch or (B, K, S, L); they replace the draw.
            codes: how they are drawn: ``"random"``; ``"stratified"``, one in each S-th part of the prior; or
                ``"quadrature"``, fixed points that stand for the prior.
            target: not looked at: the samples are the same in training.

        Raises:
            ShapeError: if the image or the latents do not fit.
            ConfigError: if ``samples_per_expert`` < 1.
        """
        check_image(self, image)
        if latents is None:
            latents = self.draw_latents(len(image), samples_per_expert, generator, codes)
        else:
            latents = self._checked_latents(latents, len(image), samples_per_expert)
        return self.expert_samples(image, latents)

    @property
    def is_deterministic(self) -> bool:
        """Whether all samples of an expert are the same."""
        return self.priors.log_std is None

    def samples_from(self, image: Tensor, deviates: Tensor) -> ExpertSamples:
        r"""Samples of an image at standard normal numbers: those of their codes.

        Args:
            image: shape (B, in_channels, \*spatial), any sides >= 1.
            deviates: shape (K, S, L) for the whole batch or (B, K, S, L).

        Raises:
            ShapeError: if the image or the deviates do not fit.
        """
        check_image(self, image)
        checked_deviates(self, deviates, len(image))
        samples: ExpertSamples = self(image, latents=self.priors.at(deviates))
        return samples

    def encoded(self, image: Tensor) -> EncodedImages:
        """Images whose features are computed once; a subclass with another way to its samples goes that way."""
        own = type(self).forward is MoSE.forward and type(self).samples_from is MoSE.samples_from
        return EncodedByMoSE(self, image) if own else PlainImages(self, image)

    def temperatures(self) -> dict[str, nn.Module]:
        """What calibration tempers."""
        return {"gating": self.gating, "logits": self.head}

    def sample(self, image: Tensor, num_samples: int, generator: torch.Generator | None = None) -> WeightedSamples:
        r"""Draw an expert and then a code for each sample: the standard form, equal weights 1/N.

        Args:
            image: shape (B, in_channels, \*spatial), any sides >= 1.
            num_samples: N.
            generator: CPU generator of experts and codes; PyTorch's default generator if None.

        Raises:
            ShapeError: if the image does not fit.
            ConfigError: if ``num_samples`` < 1.
        """
        check_image(self, image)
        require(num_samples >= 1, f"num_samples must be >= 1, got {num_samples}")
        features = self.features(image)
        probs = self.gating(features.global_feature).detach().cpu()
        experts = torch.multinomial(probs, num_samples, replacement=True, generator=generator)
        logits = self.decode(features, self.priors.draw_from(experts, generator), list(image.shape[2:]))
        weights = logits.new_full((len(image), num_samples), 1 / num_samples, dtype=torch.float32)
        return WeightedSamples(logits, weights)

    def draw_latents(
        self,
        batch: int,
        samples_per_expert: int | None = None,
        generator: torch.Generator | None = None,
        codes: CodeChoice = "random",
    ) -> Tensor:
        """Draw codes for a batch: shape (B, K, S, L), on the network's device.

        Raises:
            ConfigError: if ``samples_per_expert`` < 1, or there is no such choice of codes.
        """
        samples = self.samples_per_expert if samples_per_expert is None else samples_per_expert
        require(samples >= 1, f"samples_per_expert must be >= 1, got {samples}")
        return self.priors.draw(samples, batch, generator, codes)

    def expert_samples(self, image: Tensor, latents: Tensor) -> ExpertSamples:
        """Samples of given codes (B, K, S, L), without checks: every other call ends here."""
        features = self.features(image)
        logits = self.decode(features, latents.flatten(1, 2), list(image.shape[2:]))
        logits = logits.view(latents.shape[:3] + logits.shape[2:])
        return ExpertSamples(logits, self.gating(features.global_feature))

    def features(self, image: Tensor) -> Features:
        """What the backbone finds in the image, padded to its stride."""
        found = self.backbone(padded(image, self.stride))
        if self.noise_is_early:
            return Features(found[0], found[1], found[2])
        return Features(found[0], found[1], [])

    def decode(self, features: Features, latents: Tensor, spatial: list[int]) -> Tensor:
        r"""Logits (B, N, C, \*spatial) of an image's features and codes (B, N, L), cropped to ``spatial``."""
        if self.noise_is_early:
            dense = cropped(self._finished(features, latents), spatial)
            weight, bias = self.head.first_map()
            none = dense.new_zeros(dense.shape[0], 1, 0)
            maps = CodeMaps(weight.unsqueeze(0), none, bias.expand(dense.shape[0], 1, -1))
        else:
            dense = cropped(features.dense_feature, spatial)
            maps = self._maps(latents) if torch.jit.is_scripting() else self._maps_in_float32(latents)
        logits: Tensor = self.head(dense.flatten(2), maps)
        return logits.view(latents.shape[:2] + logits.shape[2:3] + dense.shape[2:])

    def _maps(self, latents: Tensor) -> CodeMaps:
        weight, bias = self.head.first_map()
        maps: CodeMaps = self.noise(latents, weight, bias)
        return maps

    @torch.jit.unused
    def _maps_in_float32(self, latents: Tensor) -> CodeMaps:
        """Also under autocast: the maps are small, and every sample inherits what they lose."""
        with torch.autocast(latents.device.type, enabled=False):
            return self._maps(latents)

    def _finished(self, features: Features, latents: Tensor) -> Tensor:
        r"""Dense feature of every sample, (B N, F, \*spatial), where the noise enters before the last level."""
        injected = self.noise.inject(features.dense_feature, latents)
        skips = [skip.repeat_interleave(latents.shape[1], dim=0) for skip in features.skips]
        finished: Tensor = self.backbone.finish(injected, skips)
        return finished

    def _checked_latents(self, latents: Tensor, batch: int, samples_per_expert: int | None) -> Tensor:
        samples = latents.shape[-2] if latents.ndim >= 2 else 0
        expected = (batch, self.num_experts, samples, self.latent_dim)
        if samples < 1 or tuple(latents.shape) not in (expected, expected[1:]):
            raise ShapeError(
                f"latents must be K x S x L or B x K x S x L with B={batch}, K={self.num_experts}, S >= 1, "
                f"L={self.latent_dim}, got shape {tuple(latents.shape)}"
            )
        if samples_per_expert not in (None, samples):
            raise ShapeError(
                f"latents hold {samples} samples per expert, but samples_per_expert is {samples_per_expert}"
            )
        return latents.expand(expected)
