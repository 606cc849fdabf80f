"""The metrics as Ignite handlers for MONAI's evaluators, over an output of samples and raters."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from monai.handlers import IgniteMetricHandler
from torch import Tensor

from mose_med.metrics import class_shares
from mose_med.metrics.cumulative import (
    CalibrationMetric,
    EntropyMetric,
    EntropyPart,
    ExpertEntropyMetric,
    PixelFlipMetric,
    SampleSetMetric,
)
from mose_med.samples import ExpertSamples, RaterMasks, WeightedSamples, weighted_form

__all__ = ["CalibrationHandler", "EntropyHandler", "ExpertEntropyHandler", "PixelFlipHandler", "SampleSetHandler"]

_Output = tuple[ExpertSamples | WeightedSamples, RaterMasks]
_Transform = Callable[[Any], Any]


def _prediction_and_label(output: Any) -> Any:
    return output["pred"], output["label"]


class _SetHandler(IgniteMetricHandler):  # type: ignore[misc]  # monai has no types here
    """Keeps the named tuples of the output whole, where Ignite would take them for lists of images."""

    def __init__(self, metric_fn: Any, output_transform: _Transform, save_details: bool) -> None:
        super().__init__(metric_fn=metric_fn, output_transform=output_transform, save_details=save_details)
        self._skip_unrolling = True


class SampleSetHandler(_SetHandler):
    """Mean over images of a score of hard sample masks, see :class:`~mose_med.metrics.cumulative.SampleSetMetric`.

    Args:
        score: one of :data:`~mose_med.metrics.cumulative.SET_SCORES`.
        classes: class ids that count.
        output_transform: from the engine's output to (ExpertSamples or WeightedSamples, RaterMasks).
        save_details: keep the scores of every image in ``engine.state.metric_details``.
    """

    def __init__(
        self,
        score: str = "ged",
        classes: Sequence[int] = (1,),
        output_transform: _Transform = _prediction_and_label,
        save_details: bool = True,
    ) -> None:
        super().__init__(SampleSetMetric(score, classes), output_transform, save_details)

    def update(self, output: _Output) -> None:
        """Add a batch."""
        samples, raters = weighted_form(output[0]), output[1]
        masks = samples.logits.max(dim=2).indices  # faster than argmax over an inner axis
        self.metric_fn(masks, raters.masks, weights=samples.weights, rater_weights=raters.weights)


class CalibrationHandler(_SetHandler):
    """Calibration of the marginal probabilities, see :class:`~mose_med.metrics.cumulative.CalibrationMetric`.

    Args:
        output_transform: from the engine's output to (ExpertSamples or WeightedSamples, RaterMasks).
        save_details: keep the bins of every image in ``engine.state.metric_details``.
        **settings: of the metric.
    """

    def __init__(
        self, output_transform: _Transform = _prediction_and_label, save_details: bool = False, **settings: Any
    ) -> None:
        super().__init__(CalibrationMetric(**settings), output_transform, save_details)

    def update(self, output: _Output) -> None:
        """Add a batch."""
        probs, raters = _marginal(output[0]), output[1]
        self.metric_fn(probs, class_shares(raters.masks, raters.weights, range(1, probs.shape[1])))


class EntropyHandler(_SetHandler):
    """Mean entropy of the marginal probabilities in nats.

    Args:
        output_transform: from the engine's output to (ExpertSamples or WeightedSamples, RaterMasks).
        save_details: keep the entropy of every image in ``engine.state.metric_details``.
    """

    def __init__(self, output_transform: _Transform = _prediction_and_label, save_details: bool = True) -> None:
        super().__init__(EntropyMetric(), output_transform, save_details)

    def update(self, output: _Output) -> None:
        """Add a batch."""
        self.metric_fn(_marginal(output[0]))


class ExpertEntropyHandler(_SetHandler):
    """Mean entropy in nats, or its part between or within the experts.

    Args:
        part: see :class:`~mose_med.metrics.cumulative.ExpertEntropyMetric`.
        output_transform: from the engine's output to (ExpertSamples, RaterMasks).
        save_details: keep the entropy of every image in ``engine.state.metric_details``.
    """

    def __init__(
        self,
        part: EntropyPart = "between",
        output_transform: _Transform = _prediction_and_label,
        save_details: bool = True,
    ) -> None:
        super().__init__(ExpertEntropyMetric(part), output_transform, save_details)

    def update(self, output: tuple[ExpertSamples, RaterMasks]) -> None:
        """Add a batch."""
        samples = output[0]
        self.metric_fn(samples.logits.float().softmax(dim=3).mean(dim=2), samples.expert_probs)


class PixelFlipHandler(_SetHandler):
    """Pixel flip ratio of the marginal, see :class:`~mose_med.metrics.cumulative.PixelFlipMetric`.

    Args:
        flips: flipped class by original class.
        output_transform: from the engine's output to (ExpertSamples or WeightedSamples, class maps (B, *spatial)).
        save_details: keep the sums of every image in ``engine.state.metric_details``.
    """

    def __init__(
        self,
        flips: Mapping[int, int],
        output_transform: _Transform = _prediction_and_label,
        save_details: bool = False,
    ) -> None:
        super().__init__(PixelFlipMetric(flips), output_transform, save_details)

    def update(self, output: tuple[ExpertSamples | WeightedSamples, Tensor]) -> None:
        """Add a batch."""
        self.metric_fn(_marginal(output[0]), output[1])


def _marginal(samples: ExpertSamples | WeightedSamples) -> Tensor:
    """Class probabilities under all samples, (B, C, *spatial)."""
    weighted = weighted_form(samples)
    probs = weighted.logits.float().softmax(dim=2)
    flat = torch.bmm(weighted.weights.float().unsqueeze(1), probs.flatten(2))
    return flat.view(len(probs), *probs.shape[2:])
