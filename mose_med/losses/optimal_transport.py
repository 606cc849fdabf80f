"""The MoSE loss: optimal transport between weighted samples and weighted raters (section 3.3, Algorithm 1)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, get_args

import torch
from torch import Tensor, nn

from mose_med.errors import ConfigError
from mose_med.losses.annealing import warmed_up_weights
from mose_med.losses.costs import CostFunction, CostName
from mose_med.losses.energy_distance import energy_distance
from mose_med.losses.grouping import expert_groups
from mose_med.losses.pair_cost import PairCost, check_choice
from mose_med.losses.targets import checked_raters, checked_samples
from mose_med.losses.transport import Solver, check_gamma, transport_plan
from mose_med.samples import ExpertSamples, RaterMasks, WeightedSamples

__all__ = ["KLReduction", "OptimalTransportLoss"]

KLReduction = Literal["sum", "mean"]

#: Added to the weights of the samples inside the logarithm, as in the release.
_EPSILON = 1e-8


class OptimalTransportLoss(nn.Module):
    r"""Transport cost plus the divergence of the carried mass from the predicted weights, mean over the images.

    .. math:: \ell = \frac{1}{B} \sum_n \langle P^*, C \rangle + \beta\, KL(P^* 1_R \,\|\, u), \qquad
        P^* = \arg\min_{P \ge 0,\; P 1_R \le \gamma,\; P^T 1_N = v} \langle P, C \rangle

    The plan carries no gradient: the first term teaches the samples, the second the weights.

    Args:
        cost: "iou", "dice", "ce", "focal-ce", or a function ``cost(logits (B, N, C, *spatial), masks (B, R,
            *spatial))`` that returns ``(B, N, R)``.
        beta: factor of the divergence.
        gamma: most that one sample may receive. A plain attribute that a schedule may change between calls.
        kl_reduction: "sum" over the samples, as the paper writes; "mean" over them, as its release computes.
        solver: "greedy" or "exact", see :func:`~mose_med.losses.transport_plan`.
        merge_iou: G0 of the soft gradient. Below 1, experts whose mean predictions overlap at least that much share one
            term of the divergence (samples that came without experts stand for themselves); at 1 every sample stands
            alone. A plain attribute, too.
        ignore_index: label of voxels that a rater leaves out; named costs only.
        classes: class ids that count; None for the cost's own choice; named costs only.
        rater_warmth: how far the rater weights are on their way from equal ones, 0, to the true ones, 1, see
            :func:`~mose_med.losses.warmed_up_weights`. A plain attribute, too.
        energy: share of the loss, in [0, 1], that is the energy distance of :mod:`mose_med.losses.energy_distance`
            instead of transport and divergence. A plain attribute, too. Departure: the paper has transport alone.

    Attributes:
        components: "transport" and "kl" (before beta) of the last call, and "energy" if it has a share, without
            gradient.

    Raises:
        ConfigError: if an argument is out of range.

    Example:
        >>> samples = WeightedSamples(torch.zeros(1, 2, 2, 4, 4), torch.tensor([[0.5, 0.5]]))
        >>> loss = OptimalTransportLoss(gamma=0.5)
        >>> loss(samples, torch.zeros(1, 4, 4, 4, dtype=torch.long))
        tensor(0.8889)
    """

    def __init__(
        self,
        cost: CostName | CostFunction = "iou",
        beta: float = 1.0,
        gamma: float = 1.0,
        kl_reduction: KLReduction = "sum",
        solver: Solver = "greedy",
        merge_iou: float = 1.0,
        ignore_index: int | None = None,
        classes: Sequence[int] | None = None,
        rater_warmth: float = 1.0,
        energy: float = 0.0,
    ) -> None:
        super().__init__()
        if not beta >= 0.0:
            raise ConfigError(f"beta must be >= 0, got {beta}")
        check_choice("kl_reduction", kl_reduction, get_args(KLReduction))
        check_choice("solver", solver, get_args(Solver))
        self.beta = beta
        self.gamma = gamma
        self.kl_reduction = kl_reduction
        self.solver: Solver = solver
        self.merge_iou = merge_iou
        self.ignore_index = ignore_index
        self.rater_warmth = rater_warmth
        self.energy = energy
        self.classes = None if classes is None else tuple(classes)
        self.components: dict[str, Tensor] = {}
        self._cost = PairCost(cost, classes, ignore_index)

    def forward(
        self,
        samples: ExpertSamples | WeightedSamples,
        rater_masks: Tensor | RaterMasks,
        rater_weights: Tensor | None = None,
    ) -> Tensor:
        """Loss of a batch.

        Args:
            samples: predicted logits with the probabilities of the experts or of the samples.
            rater_masks: integer class maps, shape ``(B, R, *spatial)``, alone or with their weights.
            rater_weights: probabilities of the raters, shape ``(B, R)``, rows summing to 1; 0 drops a rater. None for
                the weights that come with the masks, else 1/R.

        Returns:
            The loss, a scalar in single precision or better.

        Raises:
            ShapeError: if shapes, labels or weights do not fit each other.
            ConfigError: if gamma is too small for the number of samples, or merge_iou or rater_warmth out of range.
        """
        raters = checked_raters(rater_masks, rater_weights)
        weighted = checked_samples(samples, raters, self.ignore_index)
        check_gamma(self.gamma, weighted.weights.shape[1])
        if not 0.0 <= self.merge_iou <= 1.0:
            raise ConfigError(f"merge_iou must be in [0, 1], got {self.merge_iou}")
        self._check_energy()
        with torch.autocast(weighted.logits.device.type, enabled=False):
            cost = self._cost(weighted, raters)
            demand = (
                raters.weights if self.rater_warmth == 1.0 else warmed_up_weights(raters.weights, self.rater_warmth)
            )
            plan = transport_plan(cost, demand, self.gamma, self.solver)
            transport = (plan * cost).sum(dim=(1, 2)).mean()
            divergence = self._divergence(samples, weighted.weights, plan.sum(dim=2)).mean()
            self.components = {"transport": transport.detach(), "kl": divergence.detach()}
            loss = transport + self.beta * divergence
            if self.energy == 0.0:
                return loss
            of_expert = samples.logits.shape[2] if isinstance(samples, ExpertSamples) else 1
            rest = RaterMasks(raters.masks, demand)
            energy = energy_distance(weighted, rest, samples_per_expert=of_expert, classes=self.classes).mean()
            self.components["energy"] = energy.detach()
            return (1.0 - self.energy) * loss + self.energy * energy

    def _check_energy(self) -> None:
        if not 0.0 <= self.energy <= 1.0:
            raise ConfigError(f"energy must be in [0, 1], got {self.energy}")
        if self.energy > 0.0 and self.ignore_index is not None:
            raise ConfigError(f"energy must be 0 with ignore_index={self.ignore_index}, got {self.energy}")

    def _divergence(self, samples: ExpertSamples | WeightedSamples, weights: Tensor, received: Tensor) -> Tensor:
        """KL of the received mass from the predicted weights, (B,)."""
        weights = weights.to(received.dtype)
        scale = 1.0 / weights.shape[1] if self.kl_reduction == "mean" else 1.0
        if self.merge_iou >= 1.0:
            return scale * _kl_terms(received, weights).sum(dim=1)
        logits = samples.logits if isinstance(samples, ExpertSamples) else samples.logits.unsqueeze(2)
        shape = (*logits.shape[:2], logits.shape[2])
        groups = expert_groups(logits, self.merge_iou).to(received.dtype)
        received, weights = (_group_sums(mass.reshape(shape).sum(dim=2), groups) for mass in (received, weights))
        return scale * (_kl_terms(received, weights) / groups.sum(dim=2)).sum(dim=1)


def _kl_terms(received: Tensor, weights: Tensor) -> Tensor:
    entropy: Tensor = torch.special.xlogy(received, received)
    return entropy - received * (weights + _EPSILON).log()


def _group_sums(mass: Tensor, groups: Tensor) -> Tensor:
    return (groups @ mass.unsqueeze(2)).squeeze(2)
