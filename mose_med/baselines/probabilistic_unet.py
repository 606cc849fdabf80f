"""Probabilistic U-Net (Kohl et al., "A probabilistic U-Net for segmentation of ambiguous images", NeurIPS 2018)."""

from __future__ import annotations

from functools import partial
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from mose_med.baselines.parts.blocks import Encoder, initialise, joined, relu_block
from mose_med.baselines.parts.evidence import EvidenceLowerBoundLoss, VariationalOutput
from mose_med.baselines.parts.gaussians import DiagonalGaussian, GaussianHead
from mose_med.baselines.parts.latent_network import LatentNetwork, SeenMask
from mose_med.errors import require
from mose_med.networks.checks import check_channels
from mose_med.networks.head.heads import ExpertHead
from mose_med.networks.head.tiles import Affine, at_least_float32
from mose_med.networks.noise import CodeMaps
from mose_med.networks.registry import register

__all__ = ["ProbabilisticUNet", "ProbabilisticUNetLoss"]

_HIDDEN_LAYERS = 3

ProbabilisticUNetLoss = EvidenceLowerBoundLoss


@register("probabilistic_unet")
class ProbabilisticUNet(LatentNetwork):
    """U-Net whose last feature map is combined with one latent vector per image.

    Prior and posterior are encoders like the U-Net's, followed by the mean over space and a linear layer. The latent
    joins the U-Net's last map in three 1x1 layers with ReLU and a linear classifier; a further sample costs no more
    than these. The default is the size of the released code (Cityscapes; none was released for LIDC).

    Departure: upsampling does not align corners, as TensorFlow's did in the published code, so that a feature does not
    depend on the size of the image; log sigma is clamped.

    Args:
        spatial_dims: 2 or 3.
        in_channels: channels of the image.
        out_channels: C, classes with the background.
        channels: channels of each level, finest first.
        latent_dim: L.
        samples_per_expert: S unless a call says otherwise.

    Raises:
        ConfigError: if a setting does not fit.

    Example:
        >>> network = ProbabilisticUNet(channels=(4, 8)).eval()
        >>> network(torch.zeros(1, 1, 9, 6), samples_per_expert=3).logits.shape
        torch.Size([1, 1, 3, 2, 9, 6])
    """

    def __init__(
        self,
        spatial_dims: int = 2,
        in_channels: int = 1,
        out_channels: int = 2,
        channels: tuple[int, ...] = (32, 64, 128, 192, 192, 192, 192),
        latent_dim: int = 6,
        samples_per_expert: int = 4,
    ) -> None:
        channels = tuple(channels)
        check_channels(channels)
        require(latent_dim >= 1, f"latent_dim must be >= 1, got {latent_dim}")
        super().__init__(
            spatial_dims=spatial_dims,
            in_channels=in_channels,
            out_channels=out_channels,
            channels=channels,
            samples_per_expert=samples_per_expert,
            noise_dim=latent_dim,
        )
        block = partial(relu_block, spatial_dims)
        self.encoder = Encoder(in_channels, channels, block)
        self.decoder = nn.ModuleList(block(below + skip, skip) for below, skip in pairwise(reversed(channels)))
        self.prior = _LatentEncoder(spatial_dims, in_channels, channels, latent_dim)
        self.posterior = _LatentEncoder(spatial_dims, in_channels + out_channels, channels, latent_dim)
        self.combine = _LatentHead(channels[0], out_channels, latent_dim)

    def encode(self, image: Tensor) -> tuple[Tensor, DiagonalGaussian]:
        """The U-Net's last map, and the prior."""
        return self.dense_feature(image), self.prior(image)

    def decode(self, encoded: tuple[Tensor, DiagonalGaussian], deviates: Tensor, fields: list[Tensor]) -> Tensor:
        """The 1x1 layers of every sample."""
        dense, prior = encoded
        return self.combine.sample_logits(dense, prior.of_samples().at(deviates))

    def training_output(self, image: Tensor, seen: SeenMask, generator: torch.Generator | None) -> VariationalOutput:
        """One sample of the posterior, which sees the mask's indicators shifted to -1/2 and 1/2."""
        prior, posterior = self.gaussians(image, seen)
        latents = posterior.at(torch.randn(posterior.mean.shape, generator=generator))
        logits = self.combine.sample_logits(self.dense_feature(image), latents.unsqueeze(1))[:, 0]
        return VariationalOutput(logits, (posterior,), (prior,), seen.rater)

    def gaussians(self, image: Tensor, seen: SeenMask) -> tuple[DiagonalGaussian, DiagonalGaussian]:
        """Prior and posterior."""
        return self.prior(image), self.posterior(torch.cat([image, seen.indicators - 0.5], dim=1))

    def dense_feature(self, image: Tensor) -> Tensor:
        r"""The U-Net's last map, (B, channels[0], \*spatial)."""
        levels: list[Tensor] = self.encoder(image)
        x = levels[-1]
        for block, skip in zip(self.decoder, reversed(levels[:-1]), strict=True):
            x = block(joined(x, skip))
        return x


class _LatentEncoder(nn.Module):
    """Gaussian of an image, (B, L): encoder, mean over space, linear layer."""

    def __init__(self, spatial_dims: int, in_channels: int, channels: tuple[int, ...], latent_dim: int) -> None:
        super().__init__()
        self.encoder = Encoder(in_channels, channels, partial(relu_block, spatial_dims))
        self.head = GaussianHead(spatial_dims, channels[-1], latent_dim)

    def forward(self, image: Tensor) -> DiagonalGaussian:
        coarsest = at_least_float32(self.encoder(image)[-1])
        mean, log_std = self.head(coarsest.mean(dim=tuple(range(2, image.ndim)), keepdim=True))
        return DiagonalGaussian(mean.flatten(1), log_std.flatten(1))


class _LatentHead(ExpertHead):
    """Three 1x1 layers with ReLU on dense feature and latent, and a linear classifier.

    The latent's share of the first layer is one offset a sample, so that the dense feature is never copied.
    """

    def __init__(self, channels: int, out_channels: int, latent_dim: int) -> None:
        super().__init__(
            channels,
            out_channels,
            num_hidden=_HIDDEN_LAYERS,
            first_channels=channels + latent_dim,
            normalised=False,
        )
        for layer in self.modules():
            if isinstance(layer, nn.Linear):
                initialise(layer)

    def first_map(self) -> Affine:
        """The dense feature's share of the first layer."""
        linear = self.first.linear
        return Affine(linear.weight[:, : linear.out_features], linear.bias)

    def sample_logits(self, dense: Tensor, latents: Tensor) -> Tensor:
        r"""Logits (B, S, C, \*spatial) of dense feature (B, F, \*spatial) and latents (B, S, L)."""
        weight, bias = self.first_map()
        offsets = F.linear(latents, self.first.linear.weight[:, weight.shape[1] :], bias)
        logits: Tensor = self(dense.flatten(2), CodeMaps(weight.unsqueeze(0), latents[:, :, :0], offsets))
        return logits.view(*logits.shape[:3], *dense.shape[2:])
