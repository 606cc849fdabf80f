"""Values that change over a training: gamma, merge_iou, energy, S, a temperature, the warm-up of the rater weights.

A schedule gets the mean training loss at the end of every epoch and gives the value of the next. It knows nothing of
engines: a handler asks it. Its state is plain numbers, to be kept in checkpoints.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import torch
from torch import Tensor

from mose_med.errors import ConfigError

__all__ = ["LinearSchedule", "PlateauSchedule", "Schedule", "StepSchedule", "warmed_up_weights"]


class Schedule(Protocol):
    """Value of a setting, epoch by epoch."""

    @property
    def value(self) -> float:
        """Value in the epoch that comes next or is under way."""

    def step(self, mean_loss: float) -> float:
        """End an epoch with this mean training loss; returns the next value."""

    def state_dict(self) -> dict[str, Any]:
        """State of the schedule: plain numbers."""

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Inverse of :meth:`state_dict`."""


@dataclass
class _EpochSchedule(ABC):
    """A schedule whose value follows from the number of epochs alone."""

    epoch: int = field(default=0, init=False, kw_only=True)

    @property
    @abstractmethod
    def value(self) -> float:
        """Value in the epoch that comes next or is under way."""

    def step(self, mean_loss: float) -> float:
        """End an epoch; the loss does not matter here."""
        del mean_loss
        self.epoch += 1
        return self.value

    def state_dict(self) -> dict[str, Any]:
        """Epochs ended so far."""
        return {"epoch": self.epoch}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Inverse of :meth:`state_dict`."""
        self.epoch = int(state["epoch"])


@dataclass
class LinearSchedule(_EpochSchedule):
    """From ``start`` to ``end`` in equal steps over ``epochs`` epochs, then constant.

    Example:
        >>> gamma = LinearSchedule(start=0.5, end=1.0, epochs=2)
        >>> gamma.value, gamma.step(0.3), gamma.step(0.2), gamma.step(0.1)
        (0.5, 0.75, 1.0, 1.0)
    """

    start: float
    end: float
    epochs: int

    def __post_init__(self) -> None:
        if self.epochs < 0:
            raise ConfigError(f"epochs must be >= 0, got {self.epochs}")

    @property
    def ends(self) -> tuple[float, float]:
        """First and last value."""
        return (self.start if self.epochs else self.end), self.end

    @property
    def value(self) -> float:
        """Value in the epoch that comes next or is under way."""
        share = min(self.epoch / self.epochs, 1.0) if self.epochs else 1.0
        return self.start + share * (self.end - self.start)


@dataclass
class StepSchedule(_EpochSchedule):
    """One value after another, each from an epoch on that is known beforehand.

    Args:
        values: at least one, in their order.
        epochs: how many epochs are over when each of the later values begins; one number fewer than ``values``, rising.

    Example:
        >>> energy = StepSchedule(values=(0.0, 0.7), epochs=(2,))
        >>> energy.value, energy.step(0.3), energy.step(0.2), energy.step(0.1)
        (0.0, 0.0, 0.7, 0.7)
    """

    values: Sequence[float]
    epochs: Sequence[int]

    def __post_init__(self) -> None:
        if len(self.values) != len(self.epochs) + 1:
            raise ConfigError(f"values must be one more than epochs, got {len(self.values)} and {len(self.epochs)}")
        if list(self.epochs) != sorted(set(self.epochs)):
            raise ConfigError(f"epochs must rise, got {tuple(self.epochs)}")

    @property
    def ends(self) -> tuple[float, float]:
        """First and last value."""
        return self.values[0], self.values[-1]

    @property
    def value(self) -> float:
        """Value in the epoch that comes next or is under way."""
        return self.values[sum(self.epoch >= begin for begin in self.epochs)]


@dataclass
class PlateauSchedule:
    """The next of several values whenever the epoch's mean training loss has stopped improving.

    A loss improves if it is below the best so far by more than ``threshold`` of it. After more than ``patience`` epochs
    without, the next value comes and the best is forgotten, since another value means another loss.

    Departure: the release compares the mean over all iterations since training began, so that its switch may never
    come.

    Args:
        values: at least one, in their order.
        patience: epochs without improvement that are borne; 10 for LIDC, 30 for Cityscapes.
        threshold: relative.

    Example:
        >>> gamma = PlateauSchedule((0.5, 1.0), patience=1)
        >>> [gamma.step(loss) for loss in (0.9, 0.8, 0.8, 0.8, 0.9)]
        [0.5, 0.5, 0.5, 1.0, 1.0]
    """

    values: Sequence[float]
    patience: int
    threshold: float = 1e-4
    stage: int = field(default=0, init=False)
    best: float = field(default=float("inf"), init=False)
    stale: int = field(default=0, init=False)

    def __post_init__(self) -> None:
        if not self.values:
            raise ConfigError("values must have at least one entry, got none")
        if self.patience < 0:
            raise ConfigError(f"patience must be >= 0, got {self.patience}")
        if not 0.0 <= self.threshold < 1.0:
            raise ConfigError(f"threshold must be in [0, 1), got {self.threshold}")

    @property
    def ends(self) -> tuple[float, float]:
        """First and last value."""
        return self.values[0], self.values[-1]

    @property
    def value(self) -> float:
        """Value in the epoch that comes next or is under way."""
        return self.values[self.stage]

    def step(self, mean_loss: float) -> float:
        """End an epoch with this mean training loss; returns the next value."""
        if mean_loss < self.best - self.threshold * abs(self.best) or self.best == float("inf"):
            self.best, self.stale = mean_loss, 0
        else:
            self.stale += 1
        if self.stale > self.patience and self.stage + 1 < len(self.values):
            self.stage, self.best, self.stale = self.stage + 1, float("inf"), 0
        return self.value

    def state_dict(self) -> dict[str, Any]:
        """Which value, the best loss with it and for how many epochs nothing was better."""
        return {"stage": self.stage, "best": self.best, "stale": self.stale}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Inverse of :meth:`state_dict`."""
        self.stage, self.best, self.stale = int(state["stage"]), float(state["best"]), int(state["stale"])


def warmed_up_weights(rater_weights: Tensor, warmth: float) -> Tensor:
    """Rater weights on their way from equal ones to the true ones (Cityscapes' warm-up of v).

    Args:
        rater_weights: true weights, shape ``(B, R)``; raters of weight 0 are missing and stay so.
        warmth: 0 for equal weights, 1 for the true ones.

    Returns:
        Weights of the same shape, rows summing to 1.

    Raises:
        ConfigError: if ``warmth`` is outside [0, 1].

    Example:
        >>> warmed_up_weights(torch.tensor([[0.8, 0.2, 0.0]]), 0.5)
        tensor([[0.6500, 0.3500, 0.0000]])
    """
    if not 0.0 <= warmth <= 1.0:
        raise ConfigError(f"rater_warmth must be in [0, 1], got {warmth}")
    present = (rater_weights > 0).to(rater_weights.dtype)
    return torch.lerp(present / present.sum(dim=1, keepdim=True).clamp_min(1.0), rater_weights, warmth)
