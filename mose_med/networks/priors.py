"""Latent codes of the experts (section 3.2 of the paper), drawn at random or placed as quadrature points.

The S codes of an expert stand for its Gaussian with equal weights. Random codes are S draws. Quadrature points are the
same for every image: the normal deviates at the middles of S intervals of equal probability, which stand for the
Gaussian far better than as many draws, though their variance is somewhat smaller than 1 (see
:func:`quadrature_deviates`).
"""

from __future__ import annotations

import math
from typing import Literal, get_args

import torch
from torch import Tensor, nn

from mose_med.errors import ConfigError

__all__ = [
    "DEFAULT_CODES",
    "CodeChoice",
    "Codes",
    "ExpertPriors",
    "chosen_deviates",
    "quadrature_deviates",
    "stratified_deviates",
]

_INITIAL_STD = 1 / 8
_SOBOL_SEED = 0
_LEAST_SHARE = 1e-6

#: Where the codes of the compact form come from.
Codes = Literal["quadrature", "random"]
DEFAULT_CODES: Codes = "quadrature"
#: How a call of the network chooses them: independent draws, one draw in every S-th part of the prior, or fixed points.
CodeChoice = Literal["random", "stratified", "quadrature"]


def chosen_deviates(
    shape: tuple[int, int, int, int], choice: CodeChoice, generator: torch.Generator | None = None
) -> Tensor:
    """Standard normal deviates (B, K, S, L), on the CPU, so that a seed gives the same codes on every device.

    Raises:
        ConfigError: if there is no such choice.
    """
    if choice not in get_args(CodeChoice):
        raise ConfigError(f"codes must be one of {', '.join(get_args(CodeChoice))}, got {choice!r}")
    if choice == "quadrature":
        return quadrature_deviates(shape[2], shape[3]).expand(shape)
    return stratified_deviates(shape, generator) if choice == "stratified" else torch.randn(shape, generator=generator)


def quadrature_deviates(samples: int, latent_dim: int) -> Tensor:
    """Points of equal weight that stand for a standard Gaussian: shape (S, L), float32, always the same.

    In one dimension ``z_s = F^-1((s + 1/2) / S)``, F being the distribution function, in ascending order. In more, S
    points of a scrambled Sobol set and their mirror images, every coordinate of which is moved to the mid-quantile of
    its rank; so each coordinate has the points of one dimension. All sets are symmetric about 0.

    The variance of a coordinate is 0 for S = 1, .71 for S = 4, .88 for S = 10, .95 for S = 25 and .99 for S = 100.

    Args:
        samples: S.
        latent_dim: L.

    Example:
        >>> [round(value, 3) for value in quadrature_deviates(4, 1)[:, 0].tolist()]
        [-1.15, -0.319, 0.319, 1.15]
    """
    middles = (torch.arange(samples, dtype=torch.float64) + 0.5) / samples
    values: Tensor = (torch.special.ndtri(middles) - torch.special.ndtri(middles.flip(0))) / 2
    return values[_ranks(samples, latent_dim)].float()


def _ranks(samples: int, latent_dim: int) -> Tensor:
    """Rank of every point (S, L) among the S in each coordinate."""
    if latent_dim <= 1:
        return torch.arange(samples)[:, None][:, :latent_dim]
    engine = torch.quasirandom.SobolEngine(latent_dim, scramble=True, seed=_SOBOL_SEED)  # type: ignore[no-untyped-call]
    half = engine.draw(max(samples // 2, 1), dtype=torch.float64)[: samples // 2]
    centre = half.new_full((samples % 2, latent_dim), 0.5)
    return torch.cat([half, centre, 1 - half.flip(0)]).argsort(dim=0, stable=True).argsort(dim=0, stable=True)


class ExpertPriors(nn.Module):
    """K Gaussians over the latent space, the same for every image: ``z ~ N(mean_k, diag(std_k^2))``.

    The means of the first ``2^L`` experts begin at the corners of the unit cube in binary counting order, the rest at
    random inside it.

    Departure: the deviation is diagonal, as in the release; the paper prints one number per expert.

    Args:
        num_experts: K.
        latent_dim: L.
        deterministic: every code is the mean of its expert; there are no deviations to learn.

    Example:
        >>> ExpertPriors(num_experts=4, latent_dim=2).mean.tolist()
        [[0.0, 0.0], [0.0, 1.0], [1.0, 0.0], [1.0, 1.0]]
    """

    def __init__(self, num_experts: int, latent_dim: int, *, deterministic: bool = False) -> None:
        super().__init__()
        self.min_std = 1e-8
        self.mean = nn.Parameter(_initial_means(num_experts, latent_dim))
        log_std = torch.full((num_experts, latent_dim), math.log(_INITIAL_STD))
        self.log_std = None if deterministic else nn.Parameter(log_std)

    def std(self) -> Tensor:
        """Standard deviations, shape (K, L); zeros if the experts are deterministic."""
        log_std = self.log_std
        return torch.zeros_like(self.mean) if log_std is None else log_std.exp() + self.min_std

    def at(self, deviates: Tensor) -> Tensor:
        """Codes of every expert at normal deviates (S, L), (K, S, L) or (B, K, S, L): shape (K, S, L), (B, K, S, L)."""
        return self.mean[:, None] + self.std()[:, None] * deviates.to(self.mean)

    def draw(
        self, samples: int, batch: int, generator: torch.Generator | None = None, choice: CodeChoice = "random"
    ) -> Tensor:
        """Codes of every expert: shape (B, K, S, L), differentiable in means and deviations.

        Raises:
            ConfigError: if there is no such choice.
        """
        shape = (batch, self.mean.shape[0], samples, self.mean.shape[1])
        return self.at(chosen_deviates(shape, choice, generator))

    def draw_from(self, experts: Tensor, generator: torch.Generator | None = None) -> Tensor:
        r"""Draw one code from the expert that each entry of ``experts`` (\*shape) names: shape (\*shape, L)."""
        return self.chosen(experts, torch.randn(*experts.shape, self.mean.shape[1], generator=generator))

    def chosen(self, experts: Tensor, deviates: Tensor) -> Tensor:
        r"""Codes of the experts (\*shape) at normal deviates (\*shape, L): shape (\*shape, L)."""
        chosen = experts.to(self.mean.device)
        return self.mean[chosen] + self.std()[chosen] * deviates.to(self.mean)


def stratified_deviates(shape: tuple[int, int, int, int], generator: torch.Generator | None = None) -> Tensor:
    """Standard normal deviates (B, K, S, L), of which each of the S lies in its own part of every dimension.

    Each deviate by itself has the normal distribution; the S of an expert cover it more evenly than independent ones.
    """
    samples = shape[2]
    parts = torch.rand(shape, generator=generator).argsort(dim=2).to(torch.float64)
    shares = (parts + torch.rand(shape, generator=generator, dtype=torch.float64)) / samples
    deviates: Tensor = torch.special.ndtri(shares.clamp(_LEAST_SHARE, 1 - _LEAST_SHARE))
    return deviates.float()


def _initial_means(num_experts: int, latent_dim: int) -> Tensor:
    means = torch.rand(num_experts, latent_dim)
    for expert in range(min(num_experts, 2**latent_dim)):
        means[expert] = torch.tensor([expert >> bit & 1 for bit in reversed(range(latent_dim))])
    return means
