"""The use of the experts in validation, with a warning about dead ones."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

import torch
from ignite.metrics import Metric
from ignite.metrics.metric import reinit__is_reduced, sync_all_reduce
from torch import Tensor

from mose_med.errors import MoseError
from mose_med.handlers.processes import is_first_process
from mose_med.samples import ExpertSamples

__all__ = ["ExpertUse"]

#: Largest probability on any image below which an expert is dead; of very many experts half an even share.
_LEAST_PROBABILITY = 0.05
_LEAST_SHARE = 0.5

_logger = logging.getLogger(__name__)


class ExpertUse(Metric):  # type: ignore[misc]  # ignite has no types here
    """Effective number of experts: the exponential of the entropy of their mean probabilities over the images.

    An expert is dead if no image of the run gives it 5 % (of more than ten experts, half of 1/K). A warning names the
    dead ones whenever they are others than in the run before.

    Args:
        num_experts: K.
        output_transform: from the engine's output to ExpertSamples.
    """

    def __init__(
        self, num_experts: int, output_transform: Callable[[Any], Any] = lambda output: output["pred"]
    ) -> None:
        self._num_experts = num_experts
        self._told: list[int] = []
        super().__init__(output_transform=output_transform, skip_unrolling=True)

    @reinit__is_reduced  # type: ignore[untyped-decorator]
    def reset(self) -> None:
        """Forget all images."""
        self._sum = torch.zeros(self._num_experts, dtype=torch.float64, device=self._device)
        self._largest = torch.zeros_like(self._sum)
        self._images = torch.zeros((), dtype=torch.float64, device=self._device)

    @reinit__is_reduced  # type: ignore[untyped-decorator]
    def update(self, samples: ExpertSamples) -> None:
        """Add a batch."""
        probs = samples.expert_probs.detach().to(self._device, torch.float64)
        self._sum += probs.sum(dim=0)
        self._largest = torch.maximum(self._largest, probs.amax(dim=0))
        self._images += len(probs)

    @sync_all_reduce("_sum", "_largest:MAX", "_images")  # type: ignore[untyped-decorator]
    def compute(self) -> float:
        """Effective number over the images so far.

        Raises:
            MoseError: if there were none.
        """
        if not self._images:
            raise MoseError("expert use needs at least one validation image, got none")
        effective = float(torch.special.entr(self._sum / self._images).sum().exp())
        self._warn(self._largest, effective)
        return effective

    def _warn(self, largest: Tensor, effective: float) -> None:
        least = min(_LEAST_PROBABILITY, _LEAST_SHARE / len(largest))
        dead = [index + 1 for index, share in enumerate(largest.tolist()) if share < least]
        if dead and dead != self._told and is_first_process():
            _logger.warning(
                "dead experts: %s of %d; no validation image gives them %.3g %% or more, so their samples are wasted; "
                "%.1f experts in effect",
                ", ".join(str(number) for number in dead),
                len(largest),
                100.0 * least,
                effective,
            )
        self._told = dead
