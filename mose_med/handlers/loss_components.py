"""The parts of a loss among the metrics of an epoch."""

from __future__ import annotations

from typing import Any

import torch
from ignite.engine import Engine, Events
from ignite.metrics import Average

__all__ = ["LossComponents"]


class LossComponents:
    """Mean over an epoch and over the processes of every part of the loss, as the metric ``train_<name>``.

    Attach it before anything that reads the numbers.

    Args:
        loss: its ``components`` hold the parts of the last call by name; a loss without them has no such numbers.
        device: of the numbers; their sums stay there, so that no step waits for it.
    """

    def __init__(self, loss: Any, device: str | torch.device = "cpu") -> None:
        self.loss = loss
        self.device = device
        self._means: dict[str, Average] = {}

    def attach(self, engine: Engine) -> None:
        """Watch a trainer."""
        engine.add_event_handler(Events.EPOCH_STARTED, self.reset)
        engine.add_event_handler(Events.ITERATION_COMPLETED, self.add)
        engine.add_event_handler(Events.EPOCH_COMPLETED, self.log)

    def reset(self) -> None:
        """Forget the last epoch."""
        self._means.clear()

    def add(self) -> None:
        """Add the parts of the last step."""
        for name, value in getattr(self.loss, "components", {}).items():
            self._means.setdefault(name, Average(device=self.device)).update(value)

    def log(self, engine: Engine) -> None:
        """Hand the means to the engine."""
        engine.state.metrics.update({f"train_{name}": float(mean.compute()) for name, mean in self._means.items()})
