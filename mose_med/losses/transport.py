"""Assigns the mass of the raters to the samples.

    P* = argmin <P, C>  over  { P >= 0,  P 1_R <= gamma,  P^T 1_N = v }          (equation 7 of the paper)

Columns of zero weight (missing raters) stay empty. Ties are broken by index: of equally good samples the first takes
the mass, and of equally cheap raters the first is served first. The linear program has several optima then, and the
exact solver may return another of them.

Departure: the release gives every rater the demand 1/R in its greedy and rescales the columns afterwards, so that a row
can pass gamma; here the demands are the true v.
"""

from __future__ import annotations

from typing import Literal, get_args

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from mose_med.errors import ConfigError, ShapeError
from mose_med.samples import checked_weights

__all__ = ["Solver", "check_gamma", "transport_plan"]

Solver = Literal["greedy", "exact"]

#: Slack for gamma * N = 1, which binary fractions may miss.
_ROUNDING = 1e-6


def transport_plan(cost: Tensor, rater_weights: Tensor | None, gamma: float = 1.0, solver: Solver = "greedy") -> Tensor:
    """Plan that carries every rater's weight to the samples that explain it most cheaply.

    With gamma = 1 no capacity binds and each rater goes to its nearest sample: exact, in closed form. With gamma < 1,
    "greedy" visits raters by ascending least cost and fills their samples by ascending cost up to gamma each (appendix
    A.1), for the whole batch at once; "exact" solves the linear program on the CPU by POT's network simplex, with a
    column of slack.

    Args:
        cost: cost of every pair, shape ``(B, N, R)``.
        rater_weights: v, shape ``(B, R)``, rows summing to 1; None for 1/R each.
        gamma: most that one sample may receive, in (0, 1], at least 1/N.
        solver: "greedy" or "exact".

    Returns:
        The plan, shape ``(B, N, R)``, without gradient; columns sum to ``rater_weights``.

    Raises:
        ShapeError: if cost or weights do not fit.
        ConfigError: if gamma or solver is out of range, or gamma too small to carry all the mass.

    Example:
        >>> cost = torch.tensor([[[0.1, 0.2], [0.3, 0.9]]])
        >>> transport_plan(cost, None, gamma=1.0)
        tensor([[[0.5000, 0.5000],
                 [0.0000, 0.0000]]])
        >>> transport_plan(cost, None, gamma=0.5, solver="exact")
        tensor([[[0.0000, 0.5000],
                 [0.5000, 0.0000]]])
    """
    if cost.ndim != 3 or cost.shape[1] == 0:
        raise ShapeError(f"cost must have shape (B, N, R) with N >= 1, got {tuple(cost.shape)}")
    if solver not in get_args(Solver):
        raise ConfigError(f"solver must be one of {', '.join(get_args(Solver))}, got {solver!r}")
    check_gamma(gamma, cost.shape[1])
    cost = cost.detach()
    demand = checked_weights(rater_weights, cost.transpose(1, 2), "rater_weights").to(cost.dtype)
    if gamma == 1.0:
        return _nearest_plan(cost, demand)
    return _greedy_plan(cost, demand, gamma) if solver == "greedy" else _exact_plan(cost, demand, gamma)


def check_gamma(gamma: float, num_samples: int) -> None:
    """Refuse a capacity with which ``num_samples`` cannot carry all the mass.

    Raises:
        ConfigError: naming the least gamma that can.
    """
    if not 0.0 < gamma <= 1.0:
        raise ConfigError(f"gamma must be in (0, 1], got {gamma}")
    if gamma * num_samples < 1.0 - _ROUNDING:
        raise ConfigError(f"gamma must be >= {1 / num_samples:.6g} (one over {num_samples} samples), got {gamma}")


def _nearest_plan(cost: Tensor, demand: Tensor) -> Tensor:
    nearest = cost.argmin(dim=1, keepdim=True)
    return torch.zeros_like(cost).scatter_(1, nearest, demand.unsqueeze(1))


def _greedy_plan(cost: Tensor, demand: Tensor, gamma: float) -> Tensor:
    """Loop over the raters only, all images at once, without waiting for the device."""
    visits = cost.amin(dim=1).argsort(dim=1, stable=True)
    preference = cost.argsort(dim=1, stable=True)
    preference = preference.gather(2, visits.unsqueeze(1).expand_as(preference))
    wanted = demand.gather(1, visits)
    capacity = torch.full_like(cost[:, :, 0], gamma)
    plan = torch.zeros_like(cost)
    for visit in range(cost.shape[2]):
        samples = preference[:, :, visit]
        free = capacity.gather(1, samples)
        taken_before = free.cumsum(dim=1) - free
        given = torch.minimum((wanted[:, visit, None] - taken_before).clamp_min(0.0), free)
        capacity.scatter_add_(1, samples, -given)
        plan[:, :, visit].scatter_(1, samples, given)
    return torch.zeros_like(plan).scatter_(2, visits.unsqueeze(1).expand_as(plan), plan)


def _exact_plan(cost: Tensor, demand: Tensor, gamma: float) -> Tensor:
    plans = [
        _linear_program(image_cost, image_demand, gamma)
        for image_cost, image_demand in zip(cost.double().cpu().numpy(), demand.double().cpu().numpy(), strict=True)
    ]
    return torch.from_numpy(np.stack(plans)).to(cost)


def _linear_program(cost: NDArray[np.float64], demand: NDArray[np.float64], gamma: float) -> NDArray[np.float64]:
    from ot import emd  # here, since POT imports scikit-learn, which takes seconds

    samples = len(cost)
    supply = np.full(samples, max(gamma, 1.0 / samples))
    demand = demand / demand.sum()
    slack = max(supply.sum() - 1.0, 0.0)
    plan = emd(supply, np.append(demand, slack), np.pad(cost, ((0, 0), (0, 1))))
    return np.asarray(plan[:, :-1])
