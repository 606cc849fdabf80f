"""Resampling within slices: the one rule by which preparation and inference resample a case to a given spacing.

The grid of a wanted spacing begins at voxel (0, 0) of the slice, in the orientation in which the network is shown it:
voxel n of the grid lies at voxel ``n * step`` of the slice, ``step`` being the wanted spacing over the slice's own.
Windows are placed on that grid, so that a nodule is cut out at the same voxels by both. Values are interpolated
linearly between voxel centres, towards air beyond the edge; there is no smoothing before, since spacings of CT are
close to the wanted ones. Slices stay where they are. Where the slice has the wanted spacing already nothing is done.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import ndimage
from torch.nn import functional as F

from mose_med.geometry import Affine, checked_affine, spacing_mm, window_overlap

__all__ = ["InPlaneGrid", "box_on_grid", "box_on_slice", "in_plane_grid", "interpolated_back", "resampled_window"]

#: Steps that differ from 1 by less are 1: spacings are written with some six digits.
_SAME_SPACING = 1e-5


class InPlaneGrid(NamedTuple):
    """Voxels of a wanted in-plane spacing over a volume.

    Attributes:
        affine: RAS mm, of the grid's own indices, (4, 4).
        shape: voxels of the grid, so that each voxel of the volume has a voxel of the grid within half a spacing.
        step: voxels of the volume per voxel of the grid, along i and j.
    """

    affine: Affine
    shape: tuple[int, int, int]
    step: tuple[float, float]


def in_plane_grid(affine: NDArray[np.floating], shape: tuple[int, ...], wanted_mm: float | None) -> InPlaneGrid:
    """The grid of a wanted in-plane spacing, or the volume's own.

    Args:
        affine: RAS mm, of a volume in the orientation that the network is shown.
        shape: of the volume, (i, j, k).
        wanted_mm: spacing along i and j; None keeps the volume's own.

    Example:
        >>> in_plane_grid(np.diag([-0.5, -0.5, 2.0, 1.0]), (101, 101, 7), 1.0).shape
        (51, 51, 7)
    """
    own = spacing_mm(affine)
    steps = [1.0 if wanted_mm is None else wanted_mm / float(length) for length in own[:2]]
    steps = [1.0 if abs(step - 1.0) < _SAME_SPACING else step for step in steps]
    sizes = [int(np.floor((size - 1) / step + 0.5)) + 1 for size, step in zip(shape, steps, strict=False)]
    return InPlaneGrid(
        affine=checked_affine(affine) @ np.diag([*steps, 1.0, 1.0]),
        shape=(sizes[0], sizes[1], int(shape[2])),
        step=(steps[0], steps[1]),
    )


def resampled_window(
    plane: NDArray[np.generic], grid: InPlaneGrid, start: tuple[int, ...], size: tuple[int, int], fill: float
) -> NDArray[np.float32]:
    r"""Cut a window of the grid out of slices.

    Args:
        plane: values of a slice (i, j, \*rest); the window is cut out of each of the rest.
        grid: that the window is placed on.
        start: first voxel of the grid along i and j; may lie outside.
        size: voxels of the grid along i and j.
        fill: value beyond the slice's edge.

    Returns:
        float32 (\*size, \*rest). A mask is resampled as 0 and 1, and is where the result is at least one half.

    Example:
        >>> grid = in_plane_grid(np.diag([1.0, 1.0, 1.0, 1.0]), (3, 3, 1), 0.5)
        >>> resampled_window(np.arange(9).reshape(3, 3), grid, (1, 1), (2, 2), fill=-1)
        array([[2. , 2.5],
               [3.5, 4. ]], dtype=float32)
    """
    window = np.full((*size, *plane.shape[2:]), fill, dtype=np.float32)
    if grid.step == (1.0, 1.0):
        source, inside = window_overlap(tuple(start), size, plane.shape[:2])
        window[inside] = plane[source]
        return window
    offset = [first * step for first, step in zip(start, grid.step, strict=True)]
    values = plane.astype(np.uint8) if plane.dtype == bool else plane
    for rest in np.ndindex(*plane.shape[2:]):
        window[..., *rest] = ndimage.affine_transform(
            values[..., *rest],
            np.diag(grid.step),
            offset=offset,
            output=np.float32,
            output_shape=size,
            order=1,
            mode="grid-constant",
            cval=fill,
        )
    return window


def box_on_slice(
    start: tuple[int, ...], stop: tuple[int, ...], grid: InPlaneGrid, shape: tuple[int, ...]
) -> tuple[tuple[int, int], tuple[int, int]]:
    """First voxel of a slice of ``shape``, and the one after the last, whose nearest voxels of the grid lie in a box.

    Boxes that share no voxel of the grid share none of the slice.

    Example:
        >>> grid = in_plane_grid(np.diag([0.5, 0.5, 2.0, 1.0]), (9, 9, 1), 1.0)
        >>> box_on_slice((0, 1), (1, 5), grid, (9, 9))
        ((0, 1), (1, 9))
    """
    edges = [
        [min(max(0, math.ceil((n - 0.5) * step)), size) for n, step, size in zip(box, grid.step, shape, strict=False)]
        for box in (start, stop)
    ]
    return (edges[0][0], edges[0][1]), (edges[1][0], edges[1][1])


def box_on_grid(
    start: tuple[int, ...], stop: tuple[int, ...], grid: InPlaneGrid
) -> tuple[tuple[int, int], tuple[int, int]]:
    """First voxel of the grid, and the one after the last, that are nearest to the voxels of a box of the slice.

    Example:
        >>> grid = in_plane_grid(np.diag([0.5, 0.5, 2.0, 1.0]), (9, 9, 1), 1.0)
        >>> box_on_grid((0, 1), (1, 9), grid)
        ((0, 1), (1, 5))
    """
    low_i, low_j = (math.floor(first / step + 0.5) for first, step in zip(start, grid.step, strict=False))
    high_i, high_j = (math.floor((last - 1) / step + 0.5) + 1 for last, step in zip(stop, grid.step, strict=False))
    return (low_i, low_j), (high_i, high_j)


def interpolated_back(
    maps: NDArray[np.float32], grid: InPlaneGrid, start: tuple[int, ...], low: tuple[int, int], high: tuple[int, int]
) -> NDArray[np.float32]:
    """Values of a box of the grid at the voxels of the slice, linearly interpolated; at the box's rim, its last values.

    Args:
        maps: on the grid, (N, i, j).
        grid: of the maps.
        start: voxel of the grid that the maps begin at.
        low: first voxel of the slice.
        high: voxel of the slice after the last.

    Returns:
        (N, i, j) of the slice.
    """
    axes = []
    for first, stop, begin, step, size in zip(low, high, start, grid.step, maps.shape[1:], strict=True):
        index = np.arange(first, stop) / step - begin
        axes.append(torch.from_numpy(2 * index / max(size - 1, 1) - 1).float())
    along_i, along_j = torch.meshgrid(*axes, indexing="ij")
    places = torch.stack([along_j, along_i], dim=-1)[None]
    found = F.grid_sample(torch.from_numpy(maps)[None], places, padding_mode="border", align_corners=True)
    return np.asarray(found[0].numpy())
