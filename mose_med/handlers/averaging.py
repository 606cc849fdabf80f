"""Averages of weights: over the steps of a training, and of running statistics over its processes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch.distributed as dist
from ignite.engine import Engine, Events
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from mose_med.errors import ConfigError
from mose_med.handlers.processes import is_one_of_several

__all__ = ["BufferAverage", "WeightAverage"]


class WeightAverage:
    """Exponential moving average of a network's weights and running statistics.

    Args:
        network: that is trained.
        decay: share of the average that a step keeps, in [0, 1); None for no average: then :attr:`network` is the
            trained network itself.

    Attributes:
        network: with the averaged weights, for validation.

    Raises:
        ConfigError: if ``decay`` is out of range.
    """

    def __init__(self, network: nn.Module, decay: float | None) -> None:
        if decay is not None and not 0.0 <= decay < 1.0:
            raise ConfigError(f"ema_decay must be in [0, 1), got {decay}")
        self._trained = network
        self._average: Any = None
        self.network = network
        if decay is not None:
            average = get_ema_multi_avg_fn(decay)  # type: ignore[no-untyped-call]
            self._average = AveragedModel(network, multi_avg_fn=average, use_buffers=True)
            self.network = self._average.module

    def attach(self, engine: Engine) -> None:
        """Follow every iteration of a trainer."""
        if self._average is not None:
            engine.add_event_handler(Events.ITERATION_COMPLETED, self)

    def __call__(self) -> None:
        """Move the average towards the weights after a step; the first step sets it."""
        self._average.update_parameters(self._trained)

    def state_dict(self) -> dict[str, Tensor] | None:
        """Averaged weights by the network's own names; None without an average."""
        if self._average is None:
            return None
        return {name: value.detach().cpu() for name, value in self.network.state_dict().items()}

    def load_state_dict(self, state: Mapping[str, Tensor] | None) -> None:
        """Continue from averaged weights.

        Raises:
            ConfigError: if there is an average here but not there, or the other way round.
        """
        if (state is None) != (self._average is None):
            here, there = (kind is not None for kind in (self._average, state))
            raise ConfigError(f"ema is {there} in the checkpoint, but {here} in the config (ema_decay): use the same")
        if state is not None:
            self.network.load_state_dict(state)
            self._average.n_averaged.fill_(1)


class BufferAverage:
    """Make the running statistics of all processes their mean, at the end of every epoch.

    Attach it before the validation. Without several processes it does nothing.

    Args:
        networks: whose buffers; one that comes twice is averaged once.
    """

    def __init__(self, networks: Sequence[nn.Module]) -> None:
        self.networks = tuple({id(network): network for network in networks}.values())

    def attach(self, engine: Engine) -> None:
        """Act at the end of every epoch of a trainer."""
        engine.add_event_handler(Events.EPOCH_COMPLETED, self)

    def __call__(self) -> None:
        """Average them."""
        if not is_one_of_several():
            return
        for network in self.networks:
            for buffer in network.buffers():
                if buffer.is_floating_point():
                    dist.all_reduce(buffer.data)
                    buffer.data /= dist.get_world_size()
