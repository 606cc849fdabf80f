"""Scores of sets of masks: kept slice by slice, pooled where the metric is a pooled one, averaged at the end."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from torch import Tensor

from mose_med.metrics import (
    CalibrationError,
    Interval,
    Reliability,
    generalized_energy_distance,
    matched_iou,
    patient_bootstrap,
    sample_diversity,
)
from mose_med.samples import RaterMasks
from pipelines.evaluate.prediction import SampleSet
from pipelines.evaluate.scored_data import CountedClasses

__all__ = ["MethodScores", "ScoreRow", "SliceScore", "Spread", "mean_score", "score_row"]


class SliceScore(NamedTuple):
    """Scores of one slice."""

    ged: float
    matched_iou: float
    diversity: float


class Spread(NamedTuple):
    """Mean and sample standard deviation over seeds; 0 for one seed."""

    mean: float
    std: float


@dataclass(frozen=True)
class ScoreRow:
    """One line of the result.

    Attributes:
        method: whose samples.
        num_samples: how many a slice.
        ged: squared generalized energy distance, mean over slices.
        matched_iou: mean over slices.
        ece_percent: expected calibration error of the marginal, all voxels pooled.
        diversity: expected distance of two samples, mean over slices.
        ged_interval: 95 % confidence interval of the GED by resampling patients, over all seeds.
        matched_iou_interval: likewise.
    """

    method: str
    num_samples: int
    ged: Spread
    matched_iou: Spread
    ece_percent: Spread
    diversity: Spread
    ged_interval: Interval
    matched_iou_interval: Interval


@dataclass
class MethodScores:
    """Scores of one method with one seed.

    Args:
        counted: classes that the scores are about.
    """

    counted: CountedClasses
    slices: list[SliceScore] = field(default_factory=list)
    calibration: CalibrationError = field(init=False)

    def __post_init__(self) -> None:
        self.calibration = self.counted.calibration()

    def add(self, samples: SampleSet, raters: RaterMasks, observed: Tensor) -> None:
        """Score a batch.

        Args:
            samples: predicted sets.
            raters: masks (B, R, H, W) and weights.
            observed: share of the raters for every class, (B, C, H, W).
        """
        pair = (samples.masks, raters.masks, samples.weights, raters.weights, self.counted.regions)
        ged, matched = generalized_energy_distance(*pair), matched_iou(*pair)
        diversity = sample_diversity(samples.masks, samples.weights, self.counted.regions)
        columns = zip(ged.tolist(), matched.tolist(), diversity.tolist(), strict=True)
        self.slices += [SliceScore(*values) for values in columns]
        self.calibration.update(samples.probs, observed)

    def reliability(self) -> Reliability:
        """Bins of the reliability diagram."""
        return self.calibration.reliability()


def score_row(method: str, num_samples: int, by_seed: Sequence[MethodScores], patients: Sequence[str]) -> ScoreRow:
    """Mean and spread over seeds, and intervals over the patients that the slices are of."""
    all_slices = [score for scores in by_seed for score in scores.slices]
    whose = list(patients) * len(by_seed)
    return ScoreRow(
        method=method,
        num_samples=num_samples,
        ged=_spread([mean_score([score.ged for score in scores.slices]) for scores in by_seed]),
        matched_iou=_spread([mean_score([score.matched_iou for score in scores.slices]) for scores in by_seed]),
        ece_percent=_spread([scores.calibration.compute() for scores in by_seed]),
        diversity=_spread([mean_score([score.diversity for score in scores.slices]) for scores in by_seed]),
        ged_interval=patient_bootstrap([score.ged for score in all_slices], whose),
        matched_iou_interval=patient_bootstrap([score.matched_iou for score in all_slices], whose),
    )


def mean_score(values: Sequence[float]) -> float:
    """Mean without the slices that have none of the classes, which are nan."""
    counted = [value for value in values if value == value]
    return statistics.fmean(counted) if counted else float("nan")


def _spread(values: Sequence[float]) -> Spread:
    return Spread(statistics.fmean(values), statistics.stdev(values) if len(values) > 1 else 0.0)
