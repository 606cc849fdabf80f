"""Mixed precision for MONAI's trainer, whose own supports only CUDA."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

__all__ = ["AutocastInferer"]


class AutocastInferer:
    """Call the network in bfloat16 where that is safe, on a CPU as on a GPU; an inferer of MONAI's trainers.

    bfloat16 has the range of float32, so gradients need no scaling. What follows the network, the loss above all, stays
    outside.

    Args:
        enabled: False calls the network as it is.
    """

    def __init__(self, *, enabled: bool = True) -> None:
        self.enabled = enabled

    def __call__(self, inputs: Tensor, network: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        """Output of the network."""
        with torch.autocast(inputs.device.type, dtype=torch.bfloat16, enabled=self.enabled):
            return network(inputs, *args, **kwargs)
