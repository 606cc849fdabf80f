"""Mean of a number over the steps of an epoch, without waiting for the device."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from ignite.metrics import Metric
from ignite.metrics.metric import reinit__is_reduced, sync_all_reduce
from torch import Tensor

__all__ = ["StepMean"]


class StepMean(Metric):  # type: ignore[misc]  # ignite has no types here
    """Mean over the steps of an epoch and over the processes.

    The sum stays on the device of the training: ``.item()`` in every step would make the device wait for Python.

    Args:
        value: the number, a tensor of one element, from the engine's output.
        device: of the numbers.
    """

    def __init__(self, value: Callable[[Any], Tensor], device: str | torch.device = "cpu") -> None:
        super().__init__(output_transform=value, device=device, skip_unrolling=True)

    @reinit__is_reduced  # type: ignore[untyped-decorator]
    def reset(self) -> None:
        """Forget all steps."""
        self._sum = torch.zeros((), dtype=torch.float64, device=self._device)
        self._steps = torch.zeros((), dtype=torch.float64, device=self._device)

    @reinit__is_reduced  # type: ignore[untyped-decorator]
    def update(self, value: Tensor) -> None:
        """Add a step."""
        self._sum += value.detach()
        self._steps += 1

    @sync_all_reduce("_sum", "_steps")  # type: ignore[untyped-decorator]
    def compute(self) -> float:
        """Mean so far."""
        return float(self._sum / self._steps)
