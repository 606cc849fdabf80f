"""The momentum of batch normalisation in a training."""

from __future__ import annotations

from ignite.engine import Engine, Events
from torch import nn

from mose_med.errors import ConfigError

__all__ = ["BatchNormMomentum"]


class BatchNormMomentum:
    """Set the momentum of every batch normalisation of a network when the training starts.

    The release's 0.01 averages over the last hundred steps or so, too many for a training of a few hundred: its
    statistics would be those of weights long gone, and validation and inference would see another network.

    Args:
        network: whose layers.
        momentum: share of the new batch in the running statistics.

    Raises:
        ConfigError: if the momentum is not in (0, 1].
    """

    def __init__(self, network: nn.Module, momentum: float) -> None:
        if not 0.0 < momentum <= 1.0:
            raise ConfigError(f"batch_norm_momentum must be in (0, 1], got {momentum}")
        self.network = network
        self.momentum = momentum

    def attach(self, engine: Engine) -> None:
        """Act at the start of a trainer."""
        engine.add_event_handler(Events.STARTED, self)

    def __call__(self) -> None:
        """Set the momentum."""
        for module in self.network.modules():
            if isinstance(module, nn.BatchNorm1d | nn.BatchNorm2d | nn.BatchNorm3d | nn.SyncBatchNorm):
                module.momentum = self.momentum
