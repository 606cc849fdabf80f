"""The cost of a config, by name or as a user's function, ready to be called on checked samples and raters."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import torch
from torch import Tensor

from mose_med.errors import ConfigError, ShapeError
from mose_med.losses.costs import COSTS, CostFunction, CostName
from mose_med.samples import RaterMasks, WeightedSamples

__all__ = ["PairCost", "check_choice"]


class PairCost:
    """Cost of every pair of sample and rater.

    Args:
        cost: name, or a function ``cost(logits (B, N, C, *spatial), masks (B, R, *spatial))`` that returns ``(B, N,
            R)``.
        classes: class ids that count; None for the cost's own choice; named costs only.
        ignore_index: label of voxels that a rater leaves out; named costs only.

    Raises:
        ConfigError: if an argument does not fit.
    """

    def __init__(self, cost: CostName | CostFunction, classes: Sequence[int] | None, ignore_index: int | None) -> None:
        if callable(cost):
            if classes is not None or ignore_index is not None:
                raise ConfigError("classes and ignore_index belong to the named costs: leave them to the cost function")
            self._function: CostFunction = cost
            return
        check_choice("cost", cost, tuple(COSTS))
        if classes is not None and (not classes or min(classes) < 0 or len(set(classes)) != len(classes)):
            raise ConfigError(f"classes must be different ids >= 0, at least one, got {tuple(classes)}")
        self._function = partial(COSTS[cost], classes=classes, ignore_index=ignore_index)

    def __call__(self, samples: WeightedSamples, raters: RaterMasks) -> Tensor:
        """Cost (B, N, R) in single precision or better; 0 for raters of weight 0, whatever their masks hold.

        Raises:
            ShapeError: if a user's cost function returns another shape.
        """
        cost = self._function(samples.logits, raters.masks)
        expected = (*samples.weights.shape, raters.weights.shape[1])
        if cost.shape != expected:
            raise ShapeError(f"the cost function must return shape {expected}, got {tuple(cost.shape)}")
        cost = cost if cost.dtype == torch.float64 else cost.float()
        return torch.where(raters.weights.unsqueeze(1) > 0, cost, 0.0)


def check_choice(name: str, value: object, choices: tuple[str, ...]) -> None:
    """Refuse a value that is not one of the choices.

    Raises:
        ConfigError: naming them.
    """
    if value not in choices:
        raise ConfigError(f"{name} must be one of {', '.join(choices)}, got {value!r}")
