"""Histogram of a lesion's volume under its weighted samples, split by expert."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

__all__ = ["VolumeHistogram", "volume_histogram"]


class VolumeHistogram(NamedTuple):
    """Probability that the volume lies in each bin.

    Attributes:
        edges_ml: of the bins, (bins + 1,).
        by_expert: share of the bins, (K, bins); all of it and ``empty`` add up to 1.
        empty: share of the samples without a voxel, (K,).
    """

    edges_ml: NDArray[np.float64]
    by_expert: NDArray[np.float64]
    empty: NDArray[np.float64]


def volume_histogram(
    samples_ml: NDArray[np.floating], expert_probs: NDArray[np.floating], bins: int = 12
) -> VolumeHistogram:
    """Bin volumes (K, S), of which each weighs ``expert_probs / S``; empty samples are counted apart.

    Example:
        >>> volume_histogram(np.array([[0.0, 1.0], [2.0, 2.0]]), np.array([0.5, 0.5]), bins=2).by_expert
        array([[0.  , 0.25],
               [0.  , 0.5 ]])
    """
    volumes = np.asarray(samples_ml, dtype=np.float64)
    weights = np.asarray(expert_probs, dtype=np.float64) / np.sum(expert_probs) / volumes.shape[1]
    empty = (volumes == 0).sum(axis=1) * weights
    edges = np.linspace(0, _upper_edge(float(volumes.max())), bins + 1)
    counts = [np.histogram(of_expert[of_expert > 0], edges)[0] for of_expert in volumes]
    return VolumeHistogram(edges, np.stack(counts) * weights[:, None], empty)


def _upper_edge(largest: float) -> float:
    """The next number of the form 1, 1.5, 2, 3, 4, 5, 6, 8 times a power of ten; 1 where nothing has a volume."""
    if largest <= 0:
        return 1.0
    power = 10.0 ** np.floor(np.log10(largest))
    return float(next(step * power for step in (1, 1.5, 2, 3, 4, 5, 6, 8, 10) if step * power >= largest))
