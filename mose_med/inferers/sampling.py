"""Coherent sampling: the network over the windows of a region, blended to one set of hypotheses.

One latent code per (expert, sample) serves the whole case, so sample s of expert k is one hypothesis in 3D. By default
the codes of an expert are quadrature points of its Gaussian, the same for every case. A sample's
mask is where its foreground probability, blended over the windows that hold the voxel, is above one half; the mean of
its expert is the mean of these probabilities over the expert's samples, before they are cut.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from mose_med.inferers.boxes import Box
from mose_med.inferers.noise import CaseNoise
from mose_med.inferers.regions import Region, pack
from mose_med.inferers.storage import Storage
from mose_med.inferers.windows.blending import BlendedSlice, blended_slices, interpolated_slice
from mose_med.inferers.windows.cutting import OrientedVolume, Window
from mose_med.inferers.windows.predicting import predictions
from mose_med.networks.protocol import StochasticNetwork
from mose_med.preprocessing import Preprocessing
from mose_med.resampling import box_on_grid, box_on_slice

__all__ = ["box_on_volume_grid", "region_room", "sample_region"]

#: Slices after which the pages of a region that is kept in a file are let go.
_RELEASE_SLICES = 8
#: Types of the arrays of a region, in their order.
_DTYPES = (np.uint8, np.float16, np.float16, np.uint8)


def sample_region(
    network: StochasticNetwork,
    volume: OrientedVolume,
    windows: Sequence[Window],
    box: Box,
    noise: CaseNoise,
    *,
    preprocessing: Preprocessing,
    sw_batch_size: int,
    storage: Storage,
) -> Region:
    """Run the network over the windows of a region.

    Args:
        network: in eval mode.
        volume: the case as the network looks at it.
        windows: all windows that have a voxel of the box.
        box: of the oriented grid.
        noise: of the case.
        preprocessing: of the network.
        sw_batch_size: windows per call of the network.
        storage: that has :func:`region_room` left for the region.

    Returns:
        The region in the input's own grid; ``standard_bits`` holds, for each expert in turn, the N' masks that the
        samples of the standard form would have from it.
    """
    seen = _box_on_volume(box, volume)
    region = _empty_region(_box_on_image(box, volume), noise, storage)
    means, bits, gating, standard = (
        volume.steps.apply(array)
        for array in (region.expert_means, region.sample_bits, region.gating, region.standard_bits)
    )
    compact = noise.samples_per_expert
    for blend in blended_slices(predictions(network, volume, windows, box, noise, preprocessing, sw_batch_size), box):
        blend, k = _on_volume(blend, box, seen, volume), blend.slice_index - box.start[2]
        foreground = blend.foreground
        means[:, :, k] = foreground[:, :compact].mean(axis=1).transpose(1, 2, 0)
        gating[:, :, k] = blend.expert_probs.transpose(1, 2, 0)
        bits[:, :, k] = _masks(foreground[:, :compact])
        standard[:, :, k] = _masks(foreground[:, compact:])
        if k % _RELEASE_SLICES == 0:
            storage.release()
    return region


def _box_on_volume(box: Box, volume: OrientedVolume) -> Box:
    """The voxels of the oriented volume itself that a box of its grid stands for."""
    low, high = box_on_slice(box.start[:2], box.stop[:2], volume.grid, volume.values.shape)
    return Box((*low, box.start[2]), (*high, box.stop[2]))


def _on_volume(blend: BlendedSlice, box: Box, seen: Box, volume: OrientedVolume) -> BlendedSlice:
    """A blended slice at the voxels of the volume itself."""
    if volume.grid.step == (1.0, 1.0):
        return blend
    return interpolated_slice(blend, volume.grid, box.start[:2], seen.start[:2], seen.stop[:2])


def _box_on_image(box: Box, volume: OrientedVolume) -> Box:
    """The voxels of the input's own grid that a box of the oriented grid stands for."""
    return _box_on_volume(box, volume).undo(volume.steps, tuple(volume.steps.undo(volume.values).shape))


def box_on_volume_grid(box: Box, volume: OrientedVolume, within: Box) -> Box:
    """The voxels of the oriented grid, inside a box of it, that hold a box of the input's own grid."""
    seen = box.reoriented(volume.steps, tuple(volume.steps.undo(volume.values).shape))
    low, high = box_on_grid(seen.start[:2], seen.stop[:2], volume.grid)
    return Box((*low, seen.start[2]), (*high, seen.stop[2])).intersection(within)


def region_room(box: Box, volume: OrientedVolume, noise: CaseNoise) -> int:
    """Bytes of storage that the region of a box of the oriented grid takes."""
    shapes = _shapes(_box_on_image(box, volume), noise)
    return sum(Storage.room(shape, dtype) for shape, dtype in zip(shapes, _DTYPES, strict=True))


def _shapes(box: Box, noise: CaseNoise) -> list[tuple[int, ...]]:
    """Of the arrays of a region, in their order."""
    experts, compact = len(noise.deviates), noise.samples_per_expert
    channels = (-(-experts * compact // 8), experts, experts, -(-experts * noise.num_standard // 8))
    return [(*box.shape, number) for number in channels]


def _empty_region(box: Box, noise: CaseNoise, storage: Storage) -> Region:
    bits, means, gating, standard = _shapes(box, noise)
    return Region(
        box=box,
        sample_bits=storage.zeros(bits, np.uint8),
        expert_means=storage.zeros(means, np.float16),
        gating=storage.zeros(gating, np.float16),
        standard_bits=storage.zeros(standard, np.uint8),
    )


def _masks(foreground: NDArray[np.float32]) -> NDArray[np.uint8]:
    """Bits (H, W, ceil(K S / 8)) of the foreground probability (K, S, H, W)."""
    experts, samples, height, width = foreground.shape
    return pack((foreground > 0.5).reshape(experts * samples, height, width).transpose(1, 2, 0))
