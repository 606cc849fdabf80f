"""Blending windows that overlap.

Foreground and expert probabilities of a voxel are means over the windows that hold it, with Gaussian weights around the
centres of the windows. Slices are finished one by one, so that no dense volume of samples is ever held.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache
from itertools import groupby
from typing import NamedTuple

import numpy as np
import torch
from monai.data import compute_importance_map
from numpy.typing import NDArray

from mose_med.geometry import window_overlap
from mose_med.inferers.regions import Box
from mose_med.inferers.windows import Window

__all__ = ["BlendedSlice", "Prediction", "blended_slices"]

_GAUSSIAN_SIGMA = 0.125


class Prediction(NamedTuple):
    """Of one window: foreground probability (K, S, H, W) and expert probabilities (K,)."""

    window: Window
    foreground: NDArray[np.float32]
    expert_probs: NDArray[np.float32]


class BlendedSlice(NamedTuple):
    """Of one slice of a box: foreground (K, S, H, W) and expert probabilities (K, H, W), 0 where no window was."""

    slice_index: int
    foreground: NDArray[np.float32]
    expert_probs: NDArray[np.float32]


def blended_slices(predictions: Iterator[Prediction], box: Box) -> Iterator[BlendedSlice]:
    """Blend predictions, which come sorted by slice, on the (H, W) of a box."""
    for slice_index, members in groupby(predictions, key=lambda prediction: prediction.window.slice_index):
        weight = np.zeros(box.shape[:2], dtype=np.float32)
        foreground = np.zeros(0, dtype=np.float32)
        expert_probs = np.zeros(0, dtype=np.float32)
        for prediction in members:
            if not foreground.size:
                foreground = np.zeros((*prediction.foreground.shape[:2], *weight.shape), dtype=np.float32)
                expert_probs = np.zeros((len(prediction.expert_probs), *weight.shape), dtype=np.float32)
            importance = _importance(prediction.foreground.shape[-2:])
            start = (prediction.window.start[0] - box.start[0], prediction.window.start[1] - box.start[1])
            (i, j), (h, w) = window_overlap(start, importance.shape, weight.shape)
            weight[i, j] += importance[h, w]
            foreground[..., i, j] += prediction.foreground[..., h, w] * importance[h, w]
            expert_probs[..., i, j] += prediction.expert_probs[:, None, None] * importance[h, w]
        yield BlendedSlice(slice_index, _divided(foreground, weight), _divided(expert_probs, weight))


def _divided(total: NDArray[np.float32], weight: NDArray[np.float32]) -> NDArray[np.float32]:
    return np.asarray(np.divide(total, weight, out=np.zeros_like(total), where=weight > 0))


@lru_cache(maxsize=4)
def _importance(size: tuple[int, ...]) -> NDArray[np.float32]:
    weights = compute_importance_map(size, mode="gaussian", sigma_scale=_GAUSSIAN_SIGMA, dtype=torch.float32)
    return np.asarray(weights.numpy())
