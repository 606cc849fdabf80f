"""Distribution of a volume under weighted samples."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

__all__ = ["VolumeDistribution", "volume_distribution", "weighted_quantile"]

#: Slack for weights that sum up to a quantile except for rounding.
_SLACK = 1e-9


class VolumeDistribution(NamedTuple):
    """Volumes in ml.

    Attributes:
        samples: (K, S), of every sample that the case keeps.
        by_expert: (K,), mean over the samples of each expert.
        mean: weighted mean.
        p05: 5 % quantile.
        p50: median.
        p95: 95 % quantile.
        p_empty: weight of the samples that have no voxel there.
        quantile_samples: how many samples the quantiles are of: K S, or more that were drawn for them alone.
    """

    samples: NDArray[np.float64]
    by_expert: NDArray[np.float64]
    mean: float
    p05: float
    p50: float
    p95: float
    p_empty: float
    quantile_samples: int


def volume_distribution(
    volumes_ml: NDArray[np.floating],
    expert_probs: NDArray[np.floating],
    more_ml: NDArray[np.floating] | None = None,
) -> VolumeDistribution:
    """Spread of the volumes (K, S) of samples that weigh ``expert_probs / S`` each.

    Args:
        volumes_ml: of the samples that the case keeps.
        expert_probs: (K,).
        more_ml: (K, V), of samples for the quantiles; the same ones if None.

    Example:
        >>> volume_distribution(np.array([[0.0, 1.0], [2.0, 2.0]]), np.array([0.5, 0.5])).p_empty
        0.25
    """
    volumes = np.asarray(volumes_ml, dtype=np.float64)
    many = volumes if more_ml is None else np.asarray(more_ml, dtype=np.float64)
    weights, of_many = _weights(volumes, expert_probs), _weights(many, expert_probs)
    quantiles = [weighted_quantile(many.ravel(), of_many.ravel(), share) for share in (0.05, 0.5, 0.95)]
    return VolumeDistribution(
        samples=volumes,
        by_expert=volumes.mean(axis=1),
        mean=float((weights * volumes).sum()),
        p05=quantiles[0],
        p50=quantiles[1],
        p95=quantiles[2],
        p_empty=float(weights[volumes == 0].sum()),
        quantile_samples=many.size,
    )


def _weights(volumes: NDArray[np.float64], expert_probs: NDArray[np.floating]) -> NDArray[np.float64]:
    weights = np.repeat(np.asarray(expert_probs, dtype=np.float64)[:, None], volumes.shape[1], axis=1)
    return np.asarray(weights / weights.sum())


def weighted_quantile(values: NDArray[np.floating], weights: NDArray[np.floating], share: float) -> float:
    """Smallest value at which the cumulated weight reaches ``share`` (the inverse of the distribution function).

    Example:
        >>> weighted_quantile(np.array([3.0, 1.0]), np.array([0.4, 0.6]), 0.5)
        1.0
    """
    order = np.argsort(values, kind="stable")
    cumulated = np.cumsum(weights[order])
    reached = np.searchsorted(cumulated, share * cumulated[-1] - _SLACK)
    return float(values[order][min(int(reached), len(values) - 1)])
