"""Confidence intervals of a mean over images when images of one patient are alike: whole patients are resampled."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from mose_med.errors import ConfigError, ShapeError

__all__ = ["Interval", "paired_bootstrap", "patient_bootstrap"]


class Interval(NamedTuple):
    """Bounds of a confidence interval."""

    low: float
    high: float


def _check(level: float, resamples: int) -> None:
    if not 0.0 < level < 1.0:
        raise ConfigError(f"level must be in (0, 1), got {level}")
    if resamples < 1:
        raise ConfigError(f"resamples must be >= 1, got {resamples}")


def patient_bootstrap(
    values: Sequence[float],
    patients: Sequence[Hashable],
    *,
    level: float = 0.95,
    resamples: int = 2000,
    seed: int = 0,
) -> Interval:
    """Percentile interval of the mean over images, by resampling patients with replacement.

    Args:
        values: one score per image; nan images are left out.
        patients: whose image it is, as long as ``values``.
        level: confidence, in (0, 1).
        resamples: number of bootstrap draws.
        seed: of the draws.

    Returns:
        The interval; with a single patient both bounds are the mean.

    Raises:
        ShapeError: if lengths differ or no value is left.
        ConfigError: if ``level`` or ``resamples`` is out of range.

    Example:
        >>> patient_bootstrap([0.5, 0.5, 0.5], ["a", "a", "b"])
        Interval(low=0.5, high=0.5)
    """
    if len(values) != len(patients):
        raise ShapeError(f"patients must be as many as values, {len(values)}, got {len(patients)}")
    _check(level, resamples)
    kept = [(value, patient) for value, patient in zip(values, patients, strict=True) if value == value]
    if not kept:
        raise ShapeError("values must hold at least one number, got none")
    sums, counts = _patient_totals(kept)
    draws = np.random.default_rng(seed).integers(len(sums), size=(resamples, len(sums)))
    means = sums[draws].sum(axis=1) / counts[draws].sum(axis=1)
    tail = (1.0 - level) / 2.0
    low, high = np.quantile(means, [tail, 1.0 - tail])
    return Interval(float(low), float(high))


def paired_bootstrap(
    first: NDArray[np.float64],
    second: NDArray[np.float64],
    patients: Sequence[Hashable],
    statistic: Callable[[NDArray[np.float64]], NDArray[np.float64]],
    *,
    level: float = 0.95,
    resamples: int = 2000,
    seed: int = 0,
) -> Interval:
    """Percentile interval of ``statistic(second) - statistic(first)``, by resampling patients with replacement.

    For what is not a mean over images but follows from sums over them, such as a pooled calibration error. Both sides
    see the same patients in every draw.

    Args:
        first: what is summed, one row per image, (N, T).
        second: likewise, of the same images.
        patients: whose image it is, N long.
        statistic: of rows of sums, (draws, T) to (draws,).
        level: confidence, in (0, 1).
        resamples: number of bootstrap draws.
        seed: of the draws.

    Raises:
        ShapeError: if lengths differ or there is not an image.
        ConfigError: if ``level`` or ``resamples`` is out of range.

    Example:
        >>> hits = np.array([[1.0, 1.0], [0.0, 1.0]])  # right, counted
        >>> paired_bootstrap(hits, hits, ["a", "b"], lambda sums: sums[:, 0] / sums[:, 1])
        Interval(low=0.0, high=0.0)
    """
    if not len(first) == len(second) == len(patients) or not len(patients):
        lengths = (len(first), len(second), len(patients))
        raise ShapeError(f"first, second and patients must be as many, at least one, got {lengths}")
    _check(level, resamples)
    names, whose = np.unique(np.array([str(patient) for patient in patients]), return_inverse=True)
    draws = np.random.default_rng(seed).integers(len(names), size=(resamples, len(names)))
    times = np.stack([np.bincount(draw, minlength=len(names)) for draw in draws]).astype(np.float64)
    sums = [np.stack([values[whose == index].sum(axis=0) for index in range(len(names))]) for values in (first, second)]
    differences = statistic(times @ sums[1]) - statistic(times @ sums[0])
    tail = (1.0 - level) / 2.0
    low, high = np.quantile(differences, [tail, 1.0 - tail])
    return Interval(float(low), float(high))


def _patient_totals(
    kept: Sequence[tuple[float, Hashable]],
) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Sum and number of the values of every patient."""
    totals: dict[Hashable, list[float]] = {}
    for value, patient in kept:
        totals.setdefault(patient, []).append(value)
    sums = [sum(of_patient) for of_patient in totals.values()]
    return np.array(sums, dtype=np.float64), np.array([len(of_patient) for of_patient in totals.values()])
