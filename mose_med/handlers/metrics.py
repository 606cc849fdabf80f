"""Metrics of a training in Ignite: any metric of samples and raters, the parts of the loss, the use of the experts."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

import torch
from ignite.engine import Engine, Events
from ignite.metrics import Average, Metric
from ignite.metrics.metric import reinit__is_reduced, sync_all_reduce
from monai.handlers import IgniteMetricHandler
from torch import Tensor

from mose_med.errors import MoseError
from mose_med.handlers.processes import is_first_process
from mose_med.metrics.cumulative import DataSetMetric
from mose_med.samples import ExpertSamples

__all__ = ["ExpertUse", "LossComponents", "MetricHandler"]

#: Largest probability on any image below which an expert is dead; of very many experts half an even share.
_LEAST_PROBABILITY = 0.05
_LEAST_SHARE = 0.5

_logger = logging.getLogger(__name__)


class MetricHandler(IgniteMetricHandler):  # type: ignore[misc]  # monai has no types here
    """Any metric of :mod:`mose_med.metrics.cumulative` over the images of a run.

    Args:
        metric: the metric.
        output_transform: from the engine's output to what the metric's ``add`` takes: (ExpertSamples or
            WeightedSamples, RaterMasks).
        save_details: keep the numbers of every image in ``engine.state.metric_details``.
    """

    def __init__(
        self,
        metric: DataSetMetric,
        output_transform: Callable[[Any], Any] = lambda output: (output["pred"], output["label"]),
        save_details: bool = False,
    ) -> None:
        super().__init__(metric_fn=metric, output_transform=output_transform, save_details=save_details)
        self._skip_unrolling = True  # named tuples are no lists of images

    def update(self, output: tuple[Any, Any]) -> None:
        """Add a batch."""
        self.metric_fn.add(*output)


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
        self._reported: list[int] = []
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
        if dead and dead != self._reported and is_first_process():
            _logger.warning(
                "dead experts: %s of %d; no validation image gives them %.3g %% or more, so their samples are wasted; "
                "%.1f experts in effect",
                ", ".join(str(number) for number in dead),
                len(largest),
                100.0 * least,
                effective,
            )
        self._reported = dead
