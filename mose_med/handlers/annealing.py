"""Settings that change over the epochs: gamma, merge_iou, energy, samples per expert, the warm-up of the weights."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ignite.engine import Engine, Events

from mose_med.errors import ConfigError
from mose_med.losses import Schedule

__all__ = ["Annealing", "AnnealingGroup"]


class Annealing:
    """Let a schedule set an attribute: its value holds for an epoch, and at the end it gets the epoch's mean loss.

    At the end of an epoch its value is also in ``engine.state.metrics``, under the name of the attribute. Attach it to
    the trainer before anything that reads the metrics, and before the checkpoints.

    Args:
        target: object whose attribute is set: the loss for ``"gamma"``, ``"merge_iou"``, ``"energy"`` and
            ``"rater_warmth"``, the network for ``"samples_per_expert"``.
        attribute: its name.
        schedule: value in every epoch.
        integer: round the value to the nearest integer, for a count such as the samples per expert.
        loss: name of the mean training loss in ``engine.state.metrics``.

    Raises:
        ConfigError: if there is no such attribute.
    """

    def __init__(
        self, target: Any, attribute: str, schedule: Schedule, *, integer: bool = False, loss: str = "train_loss"
    ) -> None:
        if not hasattr(target, attribute):
            raise ConfigError(f"{type(target).__name__} has no attribute {attribute!r} to anneal")
        self.target = target
        self.attribute = attribute
        self.schedule = schedule
        self.integer = integer
        self.loss = loss

    @property
    def value(self) -> float:
        """Value in the epoch that comes next or is under way."""
        return self._counted(self.schedule.value)

    @property
    def ends(self) -> tuple[float, float]:
        """First and last value, as far as the schedule says which."""
        first, last = getattr(self.schedule, "ends", (self.schedule.value, self.schedule.value))
        return self._counted(first), self._counted(last)

    def set(self, value: float) -> None:
        """Give the attribute a value."""
        setattr(self.target, self.attribute, value)

    def attach(self, engine: Engine) -> None:
        """Follow the epochs of a trainer."""
        engine.add_event_handler(Events.EPOCH_STARTED, self.begin_epoch)
        engine.add_event_handler(Events.EPOCH_COMPLETED, self.end_epoch)

    def begin_epoch(self) -> None:
        """Set the value of the epoch."""
        self.set(self.value)

    def end_epoch(self, engine: Engine) -> None:
        """Record the value of the epoch, and tell the schedule how the epoch went."""
        engine.state.metrics[self.attribute] = float(self.value)
        self.schedule.step(float(engine.state.metrics[self.loss]))

    def _counted(self, value: float) -> float:
        return round(value) if self.integer else value

    def state_dict(self) -> dict[str, Any]:
        """State of the schedule."""
        return self.schedule.state_dict()

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Inverse of :meth:`state_dict`."""
        self.schedule.load_state_dict(state)


class AnnealingGroup:
    """All annealings of a training as one handler, so that a config can replace them or add to them by name.

    Args:
        annealings: by name; there may be none.
    """

    def __init__(self, annealings: Mapping[str, Annealing]) -> None:
        self.annealings = dict(annealings)

    def attach(self, engine: Engine) -> None:
        """Attach each of them to a trainer."""
        for annealing in self.annealings.values():
            annealing.attach(engine)
