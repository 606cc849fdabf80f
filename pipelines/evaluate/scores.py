"""Scores of sets of masks: kept slice by slice, pooled where the metric is a pooled one, averaged at the end."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from torch import Tensor

from mose_med.metrics import CalibrationError, Interval, Reliability, matched_iou, patient_bootstrap, predictive_entropy
from mose_med.metrics.energy_distance import expected_distance, mask_distances, weighted_energy_distance
from mose_med.metrics.iou import checked_overlap, mean_dice
from mose_med.samples import RaterMasks
from pipelines.evaluate.prediction import SampleSet
from pipelines.evaluate.scored_data import CountedClasses

__all__ = ["MethodScores", "ScoreRow", "SliceScore", "Spread", "mean_score", "score_row"]


class SliceScore(NamedTuple):
    """Scores of one slice.

    Attributes:
        ged: squared generalized energy distance.
        matched_iou: IoU of samples and raters, matched one to one.
        diversity: expected distance of two samples.
        unbiased_ged: the energy distance without pairs of a mask with itself.
        consensus_dice: of the most likely mask and that of the raters.
        entropy: of the marginal, mean over the voxels, in nats.
    """

    ged: float
    matched_iou: float
    diversity: float
    unbiased_ged: float
    consensus_dice: float
    entropy: float


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
        unbiased_ged: without pairs of a mask with itself, of equally probable random samples; None for others, and in
            scores of an earlier version.
        consensus_dice: Dice of the samples' most likely mask and the raters', mean over slices.
        entropy: of the marginal in nats, mean over voxels.
    """

    method: str
    num_samples: int
    ged: Spread
    matched_iou: Spread
    ece_percent: Spread
    diversity: Spread
    ged_interval: Interval
    matched_iou_interval: Interval
    unbiased_ged: Spread | None = None
    consensus_dice: Spread | None = None
    entropy: Spread | None = None


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
        distances = mask_distances(samples.masks, raters.masks, self.counted.regions)
        weights = samples.weights, raters.weights
        columns = (
            weighted_energy_distance(distances, *weights),
            matched_iou(samples.masks, raters.masks, *weights, self.counted.regions),
            expected_distance(distances.samples, samples.weights.double()),
            weighted_energy_distance(distances, *weights, include_self_pairs=False),
            _consensus_dice(samples.probs, observed, self.counted.regions),
            predictive_entropy(samples.probs).flatten(1).mean(dim=1),
        )
        self.slices += [SliceScore(*values) for values in zip(*(column.tolist() for column in columns), strict=True)]
        self.calibration.update(samples.probs, observed)

    def reliability(self) -> Reliability:
        """Bins of the reliability diagram."""
        return self.calibration.reliability()


def _consensus_dice(probs: Tensor, observed: Tensor, classes: Sequence[int]) -> Tensor:
    """Dice of the most likely masks (B,) of two maps of class probabilities (B, C, H, W)."""
    predicted, annotated = (maps.argmax(dim=1, keepdim=True) for maps in (probs, observed))
    return mean_dice(checked_overlap(predicted, annotated, classes)).flatten(1)[:, 0]


def score_row(
    method: str, num_samples: int, by_seed: Sequence[MethodScores], patients: Sequence[str], *, random: bool = False
) -> ScoreRow:
    """Mean and spread over seeds, and intervals over the patients that the slices are of.

    Args:
        method: whose samples.
        num_samples: how many a slice.
        by_seed: their scores.
        patients: whose slices they are.
        random: whether the samples are equally probable random ones, of which an unbiased distance exists.
    """

    def mean(name: str) -> Spread:
        return _spread([mean_score([getattr(score, name) for score in scores.slices]) for scores in by_seed])

    all_slices = [score for scores in by_seed for score in scores.slices]
    whose = list(patients) * len(by_seed)
    return ScoreRow(
        method=method,
        num_samples=num_samples,
        ged=mean("ged"),
        matched_iou=mean("matched_iou"),
        ece_percent=_spread([scores.calibration.compute() for scores in by_seed]),
        diversity=mean("diversity"),
        ged_interval=patient_bootstrap([score.ged for score in all_slices], whose),
        matched_iou_interval=patient_bootstrap([score.matched_iou for score in all_slices], whose),
        unbiased_ged=mean("unbiased_ged") if random else None,
        consensus_dice=mean("consensus_dice"),
        entropy=mean("entropy"),
    )


def mean_score(values: Sequence[float]) -> float:
    """Mean without the slices that have none of the classes, which are nan."""
    counted = [value for value in values if value == value]
    return statistics.fmean(counted) if counted else float("nan")


def _spread(values: Sequence[float]) -> Spread:
    return Spread(statistics.fmean(values), statistics.stdev(values) if len(values) > 1 else 0.0)
