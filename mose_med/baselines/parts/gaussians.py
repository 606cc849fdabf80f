r"""Gaussians of latent variables, in single precision or better, also under autocast."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn

from mose_med.baselines.parts.blocks import convolution, repeated
from mose_med.networks.head.tiles import at_least_float32

__all__ = [
    "DiagonalGaussian",
    "DrawnLatents",
    "GaussianHead",
    "GivenLatents",
    "LatentSource",
    "bounded",
    "gaussian",
    "kl_divergence",
]

#: Bounds of log sigma: without them exp overflows early in a training whose divergence has a large weight.
_LOG_STD = (-10.0, 10.0)


class DiagonalGaussian(NamedTuple):
    r"""Independent normal distributions: ``mean`` and ``log_std`` of one shape (B, L, \*cells)."""

    mean: Tensor
    log_std: Tensor

    def at(self, deviates: Tensor) -> Tensor:
        """The values at standard normal deviates."""
        return self.mean + self.log_std.exp() * deviates.to(self.mean)

    def of_samples(self) -> DiagonalGaussian:
        """The same with an axis for samples, (B, 1, L): it broadcasts to deviates (B, S, L)."""
        return DiagonalGaussian(self.mean.unsqueeze(1), self.log_std.unsqueeze(1))


def gaussian(parameters: Tensor) -> DiagonalGaussian:
    r"""Gaussian of a map (B, 2 L, \*cells) of means and logarithms of deviations, the latter clamped to [-10, 10]."""
    return bounded(*at_least_float32(parameters).chunk(2, dim=1))


def bounded(mean: Tensor, log_std: Tensor) -> DiagonalGaussian:
    """Gaussian whose log sigma is clamped to [-10, 10]."""
    return DiagonalGaussian(mean, log_std.clamp(*_LOG_STD))


class GaussianHead(nn.Module):
    r"""Gaussian of every cell of a map (B, in_channels, \*cells): a 1x1 convolution, in single precision or better."""

    def __init__(self, spatial_dims: int, in_channels: int, latent_dim: int) -> None:
        super().__init__()
        self.convolution = convolution(spatial_dims, in_channels, 2 * latent_dim, kernel_size=1)

    def forward(self, maps: Tensor) -> DiagonalGaussian:
        """Means and deviations of ``latent_dim`` channels."""
        with torch.autocast(maps.device.type, enabled=False):
            return gaussian(self.convolution(at_least_float32(maps)))


def kl_divergence(posterior: DiagonalGaussian, prior: DiagonalGaussian) -> Tensor:
    r"""Divergence of the posterior from the prior, summed over latents and cells: shape (B,).

    .. math:: KL(q \| p) = \sum \tfrac12 \Big(\frac{\sigma_q^2 + (\mu_q - \mu_p)^2}{\sigma_p^2} - 1\Big) + \log
        \frac{\sigma_p}{\sigma_q}

    Example:
        >>> standard = DiagonalGaussian(torch.zeros(1, 2), torch.zeros(1, 2))
        >>> kl_divergence(DiagonalGaussian(torch.tensor([[1.0, 2.0]]), torch.zeros(1, 2)), standard)
        tensor([2.5000])
    """
    shift = (posterior.mean - prior.mean) * (-prior.log_std).exp()
    ratio = posterior.log_std - prior.log_std
    terms = 0.5 * ((2.0 * ratio).exp() + shift.square() - 1.0) - ratio
    return terms.flatten(1).sum(dim=1)


class GivenLatents:
    """Given latents, coarsest first."""

    def __init__(self, latents: list[Tensor]) -> None:
        self.latents = latents

    def at(self, index: int, prediction: DiagonalGaussian) -> Tensor:
        """Those of scale ``index``."""
        return self.latents[index]


class DrawnLatents:
    """Latents at given deviates, or at those that a generator draws; all are kept."""

    def __init__(self, deviates: list[Tensor] | None = None, generator: torch.Generator | None = None) -> None:
        self.deviates = deviates
        self.generator = generator
        self.latents: list[Tensor] = []

    def at(self, index: int, prediction: DiagonalGaussian) -> Tensor:
        """Those of scale ``index``, of every sample if the Gaussian is one for all of an image."""
        if self.deviates is None:
            deviates = torch.randn(prediction.mean.shape, generator=self.generator)
        else:
            deviates = self.deviates[index]
        samples = len(deviates) // len(prediction.mean)
        whole = DiagonalGaussian(*(repeated(part, samples) for part in prediction))
        self.latents.append(whole.at(deviates))
        return self.latents[-1]


#: Where the latents of each level come from, as a network goes through its levels.
LatentSource = GivenLatents | DrawnLatents
