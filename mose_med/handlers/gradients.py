"""Clipping of gradients between the backward pass and the optimiser."""

from __future__ import annotations

from ignite.engine import Engine
from monai.engines.utils import IterationEvents
from torch import nn

from mose_med.errors import ConfigError

__all__ = ["GradientClipping"]


class GradientClipping:
    """Scale the gradients of a network down where their joint L2 norm is too large.

    Args:
        network: whose parameters.
        max_norm: largest norm; None for any.

    Raises:
        ConfigError: if ``max_norm`` is not positive.
    """

    def __init__(self, network: nn.Module, max_norm: float | None) -> None:
        if max_norm is not None and not max_norm > 0:
            raise ConfigError(f"max_gradient_norm must be > 0, got {max_norm}")
        self.network = network
        self.max_norm = max_norm

    def attach(self, engine: Engine) -> None:
        """Act after every backward pass of a MONAI trainer."""
        if self.max_norm is not None:
            engine.add_event_handler(IterationEvents.BACKWARD_COMPLETED, self)

    def __call__(self) -> None:
        """Clip."""
        if self.max_norm is not None:
            nn.utils.clip_grad_norm_(self.network.parameters(), self.max_norm)
