"""Handlers at the start and end of an epoch: seeding, collecting the metrics, stopping in time."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

import torch.distributed as dist
from ignite.engine import Engine, Events

from mose_med.errors import ConfigError
from mose_med.handlers.processes import is_one_of_several

__all__ = ["EpochMetrics", "EpochSeeder", "TimeLimit"]

_logger = logging.getLogger(__name__)


class _Seeded(Protocol):
    def set_epoch(self, epoch: int) -> None: ...


class EpochSeeder:
    """Tell samplers and batch preparations which epoch begins; their randomness follows from it.

    Args:
        items: objects with ``set_epoch``.

    Raises:
        ConfigError: if one has not.
    """

    def __init__(self, items: Sequence[_Seeded]) -> None:
        for item in items:
            if not hasattr(item, "set_epoch"):
                raise ConfigError(f"seeded must hold objects with set_epoch, got {type(item).__name__}")
        self.items = tuple(items)

    def attach(self, engine: Engine) -> None:
        """Run at the start of every epoch of a trainer."""
        engine.add_event_handler(Events.EPOCH_STARTED, self)

    def __call__(self, engine: Engine) -> None:
        """Seed the epoch that the engine begins."""
        for item in self.items:
            item.set_epoch(engine.state.epoch)


class EpochMetrics:
    """Gather all numbers of an epoch in ``trainer.state.metrics`` and log them on one line.

    Attach it after the validation and before anything that reads the numbers. An epoch without validation has no
    validation numbers, not those of an earlier epoch.

    Args:
        evaluator: whose metrics are added.
        values: further numbers, by name, as functions that are called at the end of the epoch.
    """

    def __init__(self, evaluator: Engine, values: Mapping[str, Callable[[], Any]] | None = None) -> None:
        self.evaluator = evaluator
        self.values = dict(values or {})

    def attach(self, engine: Engine) -> None:
        """Run at both ends of every epoch of a trainer."""
        engine.add_event_handler(Events.EPOCH_STARTED, self.clear)
        engine.add_event_handler(Events.EPOCH_COMPLETED, self.collect)

    def clear(self, engine: Engine) -> None:
        """Forget the numbers of the last epoch."""
        engine.state.metrics.clear()
        self.evaluator.state.metrics.clear()

    def collect(self, engine: Engine) -> None:
        """Add the evaluator's metrics and the further numbers to the trainer's, as plain floats."""
        found = engine.state.metrics | self.evaluator.state.metrics
        found |= {name: value() for name, value in self.values.items()}
        engine.state.metrics.update({name: float(value) for name, value in found.items()})
        numbers = ", ".join(f"{name} {value:.4g}" for name, value in sorted(engine.state.metrics.items()))
        _logger.info("epoch %d of %d: %s", engine.state.epoch, engine.state.max_epochs, numbers)


class TimeLimit:
    """Stop at the end of an epoch if another one like the longest so far would pass the limit.

    Attach it after the checkpoints: a later run resumes from there.

    Args:
        minutes: from the start of this run; None for no limit.
        clock: seconds, monotonic.

    Raises:
        ConfigError: if the limit is not positive.
    """

    def __init__(self, minutes: float | None, clock: Callable[[], float] = time.monotonic) -> None:
        if minutes is not None and not minutes > 0:
            raise ConfigError(f"max_minutes must be > 0, got {minutes}")
        self.minutes = minutes
        self.clock = clock
        self._start = self._epoch_start = clock()
        self._longest = 0.0

    def attach(self, engine: Engine) -> None:
        """Watch a trainer."""
        if self.minutes is not None:
            engine.add_event_handler(Events.STARTED, self.begin)
            engine.add_event_handler(Events.EPOCH_COMPLETED, self)

    def begin(self) -> None:
        """Start the clock."""
        self._start = self._epoch_start = self.clock()
        self._longest = 0.0

    def __call__(self, engine: Engine) -> None:
        """Stop the engine if the next epoch would not fit."""
        now = self.clock()
        self._longest = max(self._longest, now - self._epoch_start)
        self._epoch_start = now
        if self.minutes is not None and _any_process(now - self._start + self._longest > 60.0 * self.minutes):
            _logger.info("stopped after epoch %d: another would exceed %g minutes", engine.state.epoch, self.minutes)
            engine.terminate()


def _any_process(flag: bool) -> bool:
    """Whether the flag is set in any process of a training: they have to stop together."""
    if not is_one_of_several():
        return flag
    flags: list[bool] = [False] * dist.get_world_size()
    dist.all_gather_object(flags, flag)
    return any(flags)
