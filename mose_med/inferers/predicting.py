"""The network over windows, a batch at a time; where a small part of the windows is wanted, only that is decoded."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import groupby

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from mose_med.geometry import window_overlap
from mose_med.inferers.blending import Prediction
from mose_med.inferers.regions import Box
from mose_med.inferers.windows import OrientedVolume, Window, network_input
from mose_med.networks import MoSE
from mose_med.networks.unet import Features
from mose_med.preprocessing import Preprocessing

__all__ = ["predictions"]

#: Parts of windows that are smaller than this share of them are decoded alone.
_SMALL_PART = 0.5
_Part = tuple[slice, ...]


def predictions(
    network: MoSE,
    volume: OrientedVolume,
    windows: Sequence[Window],
    box: Box,
    codes: Tensor,
    preprocessing: Preprocessing,
    sw_batch_size: int,
) -> Iterator[Prediction]:
    """What the network says of every window, in their order; right within the box, and 0 perhaps beyond it.

    Args:
        network: in eval mode.
        volume: the case as the network looks at it.
        windows: each is shown once.
        box: of the oriented grid.
        codes: (K, S, L).
        preprocessing: of the network.
        sw_batch_size: windows per call of the network.
    """
    ordered, size = sorted(set(windows)), preprocessing.roi_size
    parts = [_part(window, box, size) for window in ordered]
    by_parts = _decodes_parts(network) and max(map(_area, parts)) < _SMALL_PART * size[0] * size[1]
    for first in range(0, len(ordered), sw_batch_size):
        batch = ordered[first : first + sw_batch_size]
        with torch.inference_mode():
            images = network_input(volume, batch, preprocessing).to(codes.device)
            if by_parts:
                found = _foreground_of_parts(network, images, codes, parts[first : first + sw_batch_size])
            else:
                samples = network(images, latents=codes)
                found = _to_numpy(_foreground(samples.logits)), _to_numpy(samples.expert_probs)
        for window, foreground, probs in zip(batch, *found, strict=True):
            yield Prediction(window, foreground, probs)


def _part(window: Window, box: Box, size: tuple[int, int]) -> _Part:
    """Rows and columns of a window that lie in a box."""
    start = (window.start[0] - box.start[0], window.start[1] - box.start[1])
    return window_overlap(start, size, box.shape[:2])[1]


def _area(part: _Part) -> int:
    rows, columns = part
    return int((rows.stop - rows.start) * (columns.stop - columns.start))


def _decodes_parts(network: MoSE) -> bool:
    """Whether a part of the logits needs that part of the features alone; not if a subclass has another way."""
    return type(network).forward is MoSE.forward and not network.noise_is_early


def _foreground_of_parts(
    network: MoSE, images: Tensor, codes: Tensor, parts: Sequence[_Part]
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Foreground (B, K, S, H, W), 0 outside the parts, and expert probabilities (B, K)."""
    features = network.features(images)
    foreground = np.zeros((len(images), *codes.shape[:2], *images.shape[2:]), dtype=np.float32)
    for part, group in groupby(range(len(parts)), key=lambda index: parts[index]):
        members = list(group)
        of_part = Features(
            features.global_feature[members], features.dense_feature[members][..., part[0], part[1]].contiguous(), []
        )
        spatial = list(of_part.dense_feature.shape[2:])
        logits = network.decode(of_part, codes.flatten(0, 1).expand(len(members), -1, -1), spatial)
        by_expert = logits.view(len(members), *codes.shape[:2], *logits.shape[2:])
        foreground[members, :, :, part[0], part[1]] = _to_numpy(_foreground(by_expert))
    return foreground, _to_numpy(network.gating(features.global_feature))


def _to_numpy(values: Tensor) -> NDArray[np.float32]:
    return np.asarray(values.float().cpu().numpy())


def _foreground(logits: Tensor) -> Tensor:
    """Probability (B, K, S, H, W) of any class but the background, from logits (B, K, S, C, H, W)."""
    background, rest = logits[:, :, :, 0], logits[:, :, :, 1:]
    # Of one class the sum of exponentials has one term.
    return torch.sigmoid((rest[:, :, :, 0] if rest.shape[3] == 1 else rest.logsumexp(dim=3)) - background)
