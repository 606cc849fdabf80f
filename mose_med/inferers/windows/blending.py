"""Blending windows that overlap.

Expert probabilities of a voxel are means over the windows that hold it, with Gaussian weights w around the centres of
the windows. The samples of expert k are means with the weights ``w pi_k``, pi_k being the probability that the window
gives the expert, so that the marginal of the blend is the blend of the marginals:

    sum_k pi_k p_k = sum_windows w (sum_k pi_k p_k) / sum_windows w

Means of pi and p apart would lose their covariance. An expert with probability 0 in all windows keeps the plain mean.
Values between voxels, where they are interpolated, follow the same rule. Slices are finished one by one, so that no
dense volume of samples is ever held. F foreground classes are blended as F times as many samples are.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache
from itertools import groupby
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from mose_med.geometry import window_overlap
from mose_med.inferers.boxes import Box
from mose_med.inferers.windows.cutting import Window
from mose_med.resampling import InPlaneGrid, interpolated_back

__all__ = ["SIGMA", "BlendedSlice", "Prediction", "blended_slices", "interpolated_slice"]

#: Standard deviation of the weights of a window around its middle, as a fraction of its sides.
SIGMA = 0.125
_LEAST_IMPORTANCE = 1e-3
#: Smallest weight of an expert: windows that all give it probability 0 count equally.
_LEAST_PROB = np.float32(1e-12)


class Prediction(NamedTuple):
    """Predictions of a window: foreground probability (K, F S, H, W), class by class, and expert probabilities (K,)."""

    window: Window
    foreground: NDArray[np.float32]
    expert_probs: NDArray[np.float32]


class BlendedSlice(NamedTuple):
    """A blended slice of a box: foreground (K, F S, H, W) and expert probabilities (K, H, W), 0 where no window was."""

    slice_index: int
    foreground: NDArray[np.float32]
    expert_probs: NDArray[np.float32]


def blended_slices(predictions: Iterator[Prediction], box: Box, sigma: float = SIGMA) -> Iterator[BlendedSlice]:
    """Blend predictions, which come sorted by slice, on the (H, W) of a box.

    Args:
        predictions: of the windows.
        box: of the oriented grid.
        sigma: of the weights of a window around its middle, as a fraction of its sides.
    """
    for slice_index, members in groupby(predictions, key=lambda prediction: prediction.window.slice_index):
        weight = np.zeros(box.shape[:2], dtype=np.float32)
        foreground = np.zeros(0, dtype=np.float32)
        expert_probs = np.zeros(0, dtype=np.float32)
        for prediction in members:
            if not foreground.size:
                foreground = np.zeros((*prediction.foreground.shape[:2], *weight.shape), dtype=np.float32)
                expert_probs = np.zeros((len(prediction.expert_probs), *weight.shape), dtype=np.float32)
            importance = _importance(prediction.foreground.shape[-2:], sigma)
            probs = np.maximum(prediction.expert_probs, _LEAST_PROB)
            start = (prediction.window.start[0] - box.start[0], prediction.window.start[1] - box.start[1])
            (i, j), (h, w) = window_overlap(start, importance.shape, weight.shape)
            weight[i, j] += importance[h, w]
            weights = probs[:, None, None] * importance[h, w]
            foreground[..., i, j] += prediction.foreground[..., h, w] * weights[:, None]
            expert_probs[..., i, j] += weights
        yield BlendedSlice(slice_index, _divided(foreground, expert_probs[:, None]), _divided(expert_probs, weight))


def interpolated_slice(
    blend: BlendedSlice, grid: InPlaneGrid, start: tuple[int, int], low: tuple[int, int], high: tuple[int, int]
) -> BlendedSlice:
    """A blended slice at the voxels of the volume that the grid lies on, interpolated where a window was.

    Args:
        blend: on the grid.
        grid: of the windows.
        start: voxel of the grid that the slice begins at.
        low: first voxel of the volume's slice.
        high: voxel of the volume's slice after the last.
    """
    plane = blend.foreground.shape[2:]
    looked = blend.expert_probs.any(axis=0, keepdims=True).astype(np.float32)
    weights = np.maximum(blend.expert_probs, _LEAST_PROB) * looked
    weighted = blend.foreground * weights[:, None]
    maps = np.concatenate([weighted.reshape(-1, *plane), weights, looked])
    maps = interpolated_back(maps, grid, start, low, high)
    experts, near = len(weights), maps[-1] >= 0.5
    probs = maps[-1 - experts : -1] * near
    foreground = maps[: -1 - experts].reshape(*blend.foreground.shape[:2], *near.shape)
    return BlendedSlice(
        blend.slice_index, _divided(foreground, probs[:, None]), _divided(probs, np.where(near, maps[-1], 0))
    )


def _divided(total: NDArray[np.float32], weight: NDArray[np.float32]) -> NDArray[np.float32]:
    return np.asarray(np.divide(total, weight, out=np.zeros_like(total), where=weight > 0))


@lru_cache(maxsize=4)
def _importance(size: tuple[int, ...], sigma: float = SIGMA) -> NDArray[np.float32]:
    """The Gaussian of MONAI's sliding windows, bit for bit, without importing it."""
    weights = torch.ones(())
    for length in size:
        x = torch.arange(length, dtype=torch.float32) - (length - 1) / 2
        weights = weights[..., None] * torch.exp(x**2 / (-2 * (sigma * length) ** 2))
    return np.asarray(weights.clamp(min=max(float(weights.min()), _LEAST_IMPORTANCE)).numpy())
