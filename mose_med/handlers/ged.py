"""The validation metric: generalized energy distance of the samples, averaged over images."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from ignite.metrics import Metric
from ignite.metrics.metric import reinit__is_reduced, sync_all_reduce

from mose_med.errors import MoseError
from mose_med.metrics import generalized_energy_distance
from mose_med.samples import ExpertSamples, RaterMasks, WeightedSamples, weighted_form

__all__ = ["GedMetric"]


class GedMetric(Metric):  # type: ignore[misc]  # ignite has no types here
    """Mean squared GED over all images of a run; those without any of the classes are left out.

    A thin shell over :func:`~mose_med.metrics.generalized_energy_distance` on the hard masks of every sample.

    Args:
        classes: class ids that count; background, 0, is usually left out.
        output_transform: from the engine's output to (ExpertSamples or WeightedSamples, RaterMasks).
    """

    def __init__(
        self,
        classes: Sequence[int] = (1,),
        output_transform: Callable[[Any], Any] = lambda output: (output["pred"], output["label"]),
    ) -> None:
        self.classes = tuple(classes)
        super().__init__(output_transform=output_transform, skip_unrolling=True)

    @reinit__is_reduced  # type: ignore[untyped-decorator]
    def reset(self) -> None:
        """Forget all images."""
        self._sum = torch.zeros((), dtype=torch.float64, device=self._device)
        self._images = torch.zeros((), dtype=torch.float64, device=self._device)

    @reinit__is_reduced  # type: ignore[untyped-decorator]
    def update(self, output: tuple[ExpertSamples | WeightedSamples, RaterMasks]) -> None:
        """Add a batch."""
        samples, raters = weighted_form(output[0]), output[1]
        ged = generalized_energy_distance(
            samples.logits.max(dim=2).indices, raters.masks, samples.weights, raters.weights, self.classes
        )
        scored = ~ged.isnan()
        self._sum += ged[scored].sum().to(self._sum)
        self._images += scored.sum().to(self._images)

    @sync_all_reduce("_sum", "_images")  # type: ignore[untyped-decorator]
    def compute(self) -> float:
        """Mean over the images.

        Raises:
            MoseError: if there were none.
        """
        if not self._images:
            raise MoseError("GED needs at least one validation image with a class that counts, got none")
        return float(self._sum / self._images)
