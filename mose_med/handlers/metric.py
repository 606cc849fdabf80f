"""A metric of samples and raters as an Ignite handler for MONAI's trainers and evaluators."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from monai.handlers import IgniteMetricHandler

from mose_med.metrics.cumulative import DataSetMetric

__all__ = ["MetricHandler"]


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
