"""Temperatures by which a trained network is calibrated (Guo et al., ICML 2017): logits are divided by them.

A temperature is a buffer, not a parameter: training never moves it. State dicts name it only where it is not 1, so
weights that were never calibrated look the same as before there were temperatures, and load in either direction.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

__all__ = ["Temperature", "temper"]


class Temperature(nn.Module):
    """Division by a number, 1 until :func:`temper` or a state dict sets another.

    Example:
        >>> temperature = Temperature()
        >>> temper(temperature, 2.0)
        >>> temperature(torch.tensor([3.0]))
        tensor([1.5000])
    """

    def __init__(self) -> None:
        super().__init__()
        self.value: Tensor
        self.register_buffer("value", torch.ones(()))

    def forward(self, x: Tensor) -> Tensor:
        """``x`` of any shape, divided."""
        return x / self.value

    def _save_to_state_dict(self, destination: dict[str, Any], prefix: str, keep_vars: bool) -> None:
        if float(self.value) != 1.0:
            super()._save_to_state_dict(destination, prefix, keep_vars)

    def _load_from_state_dict(self, state_dict: dict[str, Any], prefix: str, *others: Any) -> None:
        whole = {f"{prefix}value": torch.ones(()), **state_dict}
        super()._load_from_state_dict(whole, prefix, *others)


@torch.no_grad()
def temper(module: nn.Module, value: float) -> None:
    """Set every :class:`Temperature` of a module: of ``network.gating``, ``network.head`` or a whole network.

    Args:
        module: changed in place; without a temperature it stays as it is.
        value: > 0; above 1 makes probabilities more even, below 1 more extreme.
    """
    for part in module.modules():
        if isinstance(part, Temperature):
            part.value.fill_(value)
