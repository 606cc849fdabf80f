"""Latent codes of the experts (section 3.2 of the paper)."""

from __future__ import annotations

import math
from typing import Literal, get_args

import torch
from torch import Tensor, nn

from mose_med.errors import ConfigError

__all__ = ["CodeChoice", "ExpertPriors", "quadrature_deviates", "stratified_deviates"]

#: How codes are chosen: independent draws, draws of one in every S-th part of the prior, or its fixed mid-quantiles.
CodeChoice = Literal["random", "stratified", "quadrature"]

_INITIAL_STD = 1 / 8
_LEAST_SHARE = 1e-6


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

    def draw(
        self, samples: int, batch: int, generator: torch.Generator | None = None, choice: CodeChoice = "random"
    ) -> Tensor:
        """Codes of every expert: shape (B, K, S, L), differentiable in means and deviations.

        Normal deviates are drawn on the CPU and moved, so that a seed gives the same codes on every device.

        Raises:
            ConfigError: if there is no such choice.
        """
        if choice not in get_args(CodeChoice):
            raise ConfigError(f"codes must be one of {', '.join(get_args(CodeChoice))}, got {choice!r}")
        shape = (batch, self.mean.shape[0], samples, self.mean.shape[1])
        if choice == "quadrature":
            noise = quadrature_deviates(samples, shape[-1]).expand(shape)
        elif choice == "stratified":
            noise = stratified_deviates(shape, generator)
        else:
            noise = torch.randn(shape, generator=generator)
        return self.mean[:, None] + self.std()[:, None] * noise.to(self.mean)

    def draw_from(self, experts: Tensor, generator: torch.Generator | None = None) -> Tensor:
        r"""Draw one code from the expert that each entry of ``experts`` (\*shape) names: shape (\*shape, L)."""
        noise = torch.randn(*experts.shape, self.mean.shape[1], generator=generator)
        chosen = experts.to(self.mean.device)
        return self.mean[chosen] + self.std()[chosen] * noise.to(self.mean)


def quadrature_deviates(samples: int, latent_dim: int) -> Tensor:
    """Fixed standard normal deviates of equal weight that stand for the whole distribution: shape (S, L).

    Of one dimension the mid-quantiles, of more a scrambled Sobol set through the inverse normal.

    Example:
        >>> quadrature_deviates(3, 1).flatten().tolist()
        [-0.967..., 0.0, 0.967...]
    """
    if latent_dim == 1:
        shares = ((torch.arange(samples, dtype=torch.float64) + 0.5) / samples).unsqueeze(1)
    else:
        sobol = torch.quasirandom.SobolEngine(latent_dim, scramble=True, seed=0)
        shares = sobol.draw(samples, dtype=torch.float64).clamp(_LEAST_SHARE, 1 - _LEAST_SHARE)
    return torch.special.ndtri(shares).float()


def stratified_deviates(shape: tuple[int, int, int, int], generator: torch.Generator | None = None) -> Tensor:
    """Standard normal deviates (B, K, S, L), of which each of the S lies in a part of its own of every dimension.

    Each deviate by itself has the normal distribution; the S of an expert cover it more evenly than independent ones.
    """
    samples = shape[2]
    parts = torch.rand(shape, generator=generator).argsort(dim=2).to(torch.float64)
    shares = (parts + torch.rand(shape, generator=generator, dtype=torch.float64)) / samples
    return torch.special.ndtri(shares.clamp(_LEAST_SHARE, 1 - _LEAST_SHARE)).float()


def _initial_means(num_experts: int, latent_dim: int) -> Tensor:
    means = torch.rand(num_experts, latent_dim)
    for expert in range(min(num_experts, 2**latent_dim)):
        means[expert] = torch.tensor([expert >> bit & 1 for bit in reversed(range(latent_dim))])
    return means
