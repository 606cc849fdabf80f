"""Windows that cover a region of the case, slice by slice, with the given overlap.

All slices share one set of places, spread evenly over the box that holds the region, so that windows of neighbouring
slices lie above each other. They reach beyond the box by what neighbours share, so that a voxel at its edge is in as
many of them as any other. A window that has no voxel of the region is left out.
"""

from __future__ import annotations

import math
from itertools import product

import numpy as np
from numpy.typing import NDArray

from mose_med.inferers.windows.cutting import OrientedVolume, Window
from mose_med.resampling import box_on_slice

__all__ = ["sliding_windows", "window_starts"]


def window_starts(low: int, high: int, size: int, overlap: float) -> list[int]:
    """First voxels of windows that cover ``low`` to ``high`` (not included); neighbours share ``overlap`` of ``size``.

    Rounding up their number makes them overlap more; a window larger than the extent is centred on it.

    Example:
        >>> window_starts(0, 100, 40, 0.25)
        [0, 30, 60]
        >>> window_starts(10, 20, 40, 0.25)
        [-5]
    """
    extent = high - low
    if extent <= size:
        return [low - (size - extent) // 2]
    stride = max(1, math.floor(size * (1 - overlap)))
    count = -(-(extent - size) // stride) + 1
    return [low + round(n * (extent - size) / (count - 1)) for n in range(count)]


def sliding_windows(
    volume: OrientedVolume, region: NDArray[np.bool_] | None, roi_size: tuple[int, int], overlap: float
) -> list[Window]:
    """Windows of all slices.

    Args:
        volume: the case in the orientation and spacing of the network.
        region: mask (i, j, k) of ``volume.values``, with at least one voxel; None is everywhere.
        roi_size: of a window, on the volume's grid.
        overlap: of neighbouring windows, as a fraction of a window, in [0, 1).
    """
    grid = volume.grid
    if region is None:
        sides = [window_starts(0, size, roi, overlap) for size, roi in zip(grid.shape[:2], roi_size, strict=True)]
        return [Window(k, (i, j)) for k in range(grid.shape[2]) for i, j in product(*sides)]
    sides = []
    for axis, roi in enumerate(roi_size):
        held = np.flatnonzero(region.any(axis=(1 - axis, 2)))
        low, high = (round(float(edge) / grid.step[axis]) for edge in (held[0], held[-1]))
        beyond = math.floor(roi * overlap)
        sides.append(window_starts(low - beyond, high + 1 + beyond, roi, overlap))
    windows = []
    slices = np.flatnonzero(region.any(axis=(0, 1))).tolist()
    for i, j in product(*sides):
        (low_i, low_j), (high_i, high_j) = box_on_slice(
            (i, j), (i + roi_size[0], j + roi_size[1]), grid, volume.values.shape
        )
        windows += [Window(k, (i, j)) for k in slices if region[low_i:high_i, low_j:high_j, k].any()]
    return sorted(windows)
