"""Metrics of sets of segmentations: pure functions of integer masks, weights and probabilities."""

from __future__ import annotations

from mose_med.metrics.bootstrap import Interval, patient_bootstrap
from mose_med.metrics.calibration import CalibrationError, CalibrationSummary, Reliability
from mose_med.metrics.class_shares import class_shares
from mose_med.metrics.collective_insight import CollectiveInsight, collective_insight
from mose_med.metrics.dice import matched_dice, maximum_dice, soft_dice
from mose_med.metrics.energy_distance import generalized_energy_distance, sample_diversity
from mose_med.metrics.entropy import ExpertEntropy, expert_entropy_split, predictive_entropy
from mose_med.metrics.iou import pairwise_iou
from mose_med.metrics.matching import matched_iou
from mose_med.metrics.modes import flip_sums, mode_ratio, pixel_flip_ratio
from mose_med.samples import ExpertUsage, usage_from_probs

__all__ = [
    "CalibrationError",
    "CalibrationSummary",
    "CollectiveInsight",
    "ExpertEntropy",
    "ExpertUsage",
    "Interval",
    "Reliability",
    "class_shares",
    "collective_insight",
    "expert_entropy_split",
    "flip_sums",
    "generalized_energy_distance",
    "matched_dice",
    "matched_iou",
    "maximum_dice",
    "mode_ratio",
    "pairwise_iou",
    "patient_bootstrap",
    "pixel_flip_ratio",
    "predictive_entropy",
    "sample_diversity",
    "soft_dice",
    "usage_from_probs",
]
