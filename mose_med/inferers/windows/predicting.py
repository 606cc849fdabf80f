"""The network over windows, a batch at a time; one that encodes an image once decodes only the parts that are asked."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from itertools import groupby

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from mose_med.errors import ConfigError
from mose_med.geometry import window_overlap
from mose_med.inferers.boxes import Box
from mose_med.inferers.noise import CaseNoise
from mose_med.inferers.precision import Precision, computing_in
from mose_med.inferers.windows.blending import Prediction
from mose_med.inferers.windows.cutting import OrientedVolume, Window, network_input
from mose_med.networks.encoded import EncodedImages, Part, PlainImages, encoded
from mose_med.networks.protocol import StochasticNetwork, device_of
from mose_med.preprocessing import Preprocessing
from mose_med.runtime.ahead import ahead
from mose_med.runtime.single_threads import single_threads

__all__ = ["predictions"]


def predictions(
    network: StochasticNetwork,
    volume: OrientedVolume,
    windows: Sequence[Window],
    box: Box,
    noise: CaseNoise,
    preprocessing: Preprocessing,
    sw_batch_size: int,
    num_classes: int = 1,
    precision: Precision = "fp32",
) -> Iterator[Prediction]:
    """Predictions for every window, in order; correct within the box, and possibly 0 outside it.

    Args:
        network: in eval mode.
        volume: the case in the orientation and spacing of the network.
        windows: each is shown once.
        box: of the oriented grid.
        noise: of the case.
        preprocessing: of the network.
        sw_batch_size: windows per call of the network; on a CPU with several threads, of which each has its own call,
            no more than twice as many in all.
        num_classes: F, foreground classes of the network.
        precision: of the network's products.

    Raises:
        ConfigError: if the network has another number of classes.
    """
    ordered, size, device = sorted(set(windows)), preprocessing.roi_size, device_of(network)
    parts, deviates = [_part(window, box, size) for window in ordered], noise.deviates.to(device)
    partial = max(map(_area, parts)) < size[0] * size[1] and not noise.fields.declared

    threads = min(torch.get_num_threads(), 2 * sw_batch_size) if device.type == "cpu" else 1
    at_once = _batch_size(len(ordered), sw_batch_size, threads)

    def of_batch(first: int) -> list[Prediction]:
        batch = ordered[first : first + at_once]
        with torch.inference_mode(), computing_in(precision, device):
            images = encoded(network, network_input(volume, batch, preprocessing).to(device))
            # A network that computes nothing once would only have smaller batches.
            if partial and not isinstance(images, PlainImages):
                found = _of_parts(images, deviates, parts[first : first + at_once], size, num_classes)
            else:
                fields = [field.to(device) for field in noise.fields.at(batch, size)]
                samples = images.samples(deviates, fields)
                found = _to_numpy(_foreground(samples.logits, num_classes)), _to_numpy(samples.expert_probs)
        return list(map(Prediction, batch, *found))

    # The network computes the next batches while the caller processes this one. A thread for each batch needs a sixth
    # to a third less time than all threads for one batch, whose operations are small.
    pool = single_threads(threads) if threads > 1 else None
    for found in ahead(of_batch, range(0, len(ordered), at_once), threads, pool):
        yield from found


def _batch_size(windows: int, most: int, threads: int) -> int:
    """Size of the batches that keep all threads busy to the end.

    Args:
        windows: of all batches.
        most: of a batch; of the batches of all threads together twice as many.
        threads: that take a batch each, at most twice ``most``.

    Example:
        >>> _batch_size(50, 16, threads=1), _batch_size(50, 16, threads=2), _batch_size(50, 16, threads=8)
        (13, 13, 4)
    """
    most = min(most, 2 * most // threads)
    rounds = max(1, math.ceil(windows / (most * threads)))
    return max(1, math.ceil(windows / (rounds * threads)))


def _part(window: Window, box: Box, size: tuple[int, int]) -> Part:
    """Rows and columns of a window that lie in a box."""
    start = (window.start[0] - box.start[0], window.start[1] - box.start[1])
    rows, columns = window_overlap(start, size, box.shape[:2])[1]
    return rows, columns


def _area(part: Part) -> int:
    rows, columns = part
    return int((rows.stop - rows.start) * (columns.stop - columns.start))


def _of_parts(
    images: EncodedImages, deviates: Tensor, parts: Sequence[Part], size: tuple[int, int], num_classes: int
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Foreground (B, K, F S, H, W), 0 outside the parts, and expert probabilities (B, K)."""
    experts, samples = deviates.shape[:2]
    foreground = np.zeros((len(parts), experts, num_classes * samples, *size), dtype=np.float32)
    for part, group in groupby(range(len(parts)), key=lambda index: parts[index]):
        members = list(group)
        logits = images.samples(deviates, members=members, part=part).logits
        foreground[members, :, :, part[0], part[1]] = _to_numpy(_foreground(logits, num_classes))
    return foreground, _to_numpy(images.expert_probs())


def _to_numpy(values: Tensor) -> NDArray[np.float32]:
    return np.asarray(values.float().cpu().numpy())


def _foreground(logits: Tensor, num_classes: int) -> Tensor:
    """Probability (B, K, F S, H, W) of every class but the background, from logits (B, K, S, C, H, W)."""
    if logits.shape[3] != num_classes + 1:
        rule = f"{num_classes + 1} classes, background included, are named"
        raise ConfigError(f"the network must have as many classes as have names: {rule}, it has {logits.shape[3]}")
    if num_classes == 1:
        return torch.sigmoid((logits[:, :, :, 1] - logits[:, :, :, 0]).float())
    return logits.float().softmax(dim=3)[:, :, :, 1:].transpose(2, 3).flatten(2, 3)
