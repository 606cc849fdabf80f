"""Boxes of voxels: the only way to denote a part of a grid."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from mose_med.geometry import Reorientation, index_to_mm, translated

__all__ = ["Box", "BoxMask", "bounding_box", "distance_mm"]

#: Slices that are computed at a time: few enough to stay in cache.
_SLAB_DEPTH = 4


class Box(NamedTuple):
    """A box of voxels, ``start`` included, ``stop`` not."""

    start: tuple[int, int, int]
    stop: tuple[int, int, int]

    @property
    def shape(self) -> tuple[int, int, int]:
        """Voxels along each axis."""
        i, j, k = (stop - start for start, stop in zip(self.start, self.stop, strict=True))
        return i, j, k

    @property
    def slices(self) -> tuple[slice, slice, slice]:
        """Slices that cut the box out of a volume."""
        i, j, k = (slice(start, stop) for start, stop in zip(self.start, self.stop, strict=True))
        return i, j, k

    def overlaps(self, other: Box) -> bool:
        """Whether the boxes share a voxel.

        Example:
            >>> Box((0, 0, 0), (2, 2, 2)).overlaps(Box((2, 0, 0), (3, 2, 2)))
            False
        """
        return all(a < d and c < b for a, b, c, d in zip(self.start, self.stop, other.start, other.stop, strict=True))

    def intersection(self, other: Box) -> Box:
        """The intersection; its size is 0 along an axis without overlap."""
        start = np.maximum(self.start, other.start).tolist()
        stop = np.maximum(np.minimum(self.stop, other.stop), start).tolist()
        return Box((start[0], start[1], start[2]), (stop[0], stop[1], stop[2]))

    def grown(self, voxels: int | Sequence[int], within: Box) -> Box:
        """The box grown by a number of voxels on each side (along each axis), clipped to another box.

        Example:
            >>> Box((2, 2, 2), (4, 4, 4)).grown(1, Box((0, 0, 0), (9, 9, 4)))
            Box(start=(1, 1, 1), stop=(5, 5, 4))
        """
        i, j, k = np.subtract(self.start, voxels).tolist()
        u, v, w = np.add(self.stop, voxels).tolist()
        return Box((i, j, k), (u, v, w)).intersection(within)

    def slabs(self) -> Iterator[Box]:
        """The box in pieces of a few slices; none if it has no voxel."""
        for first in range(self.start[2], self.stop[2] if 0 not in self.shape else self.start[2], _SLAB_DEPTH):
            yield Box((*self.start[:2], first), (*self.stop[:2], min(first + _SLAB_DEPTH, self.stop[2])))

    def slices_in(self, outer: Box) -> tuple[slice, slice, slice]:
        """Slices that cut the box out of an array that holds ``outer``."""
        i, j, k = (slice(a - o, b - o) for a, b, o in zip(self.start, self.stop, outer.start, strict=True))
        return i, j, k

    def union(self, other: Box) -> Box:
        """Smallest box that holds both."""
        start = np.minimum(self.start, other.start).tolist()
        stop = np.maximum(self.stop, other.stop).tolist()
        return Box((start[0], start[1], start[2]), (stop[0], stop[1], stop[2]))

    def moved(self, by: tuple[int, int, int]) -> Box:
        """The same box, shifted by a number of voxels along each axis.

        Example:
            >>> Box((0, 1, 2), (3, 3, 3)).moved((10, 0, 0))
            Box(start=(10, 1, 2), stop=(13, 3, 3))
        """
        start, stop = np.add(self.start, by).tolist(), np.add(self.stop, by).tolist()
        return Box((start[0], start[1], start[2]), (stop[0], stop[1], stop[2]))

    def reoriented(self, steps: Reorientation, shape: tuple[int, ...]) -> Box:
        """The same voxels in the grid that the one of ``shape`` becomes by ``steps``."""
        start, stop = [0, 0, 0], [0, 0, 0]
        for target, (source, flip) in enumerate(zip(steps.axes, steps.flips, strict=True)):
            low, high = self.start[source], self.stop[source]
            start[target], stop[target] = (shape[source] - high, shape[source] - low) if flip else (low, high)
        return Box((start[0], start[1], start[2]), (stop[0], stop[1], stop[2]))

    def undo(self, steps: Reorientation, shape: tuple[int, ...]) -> Box:
        """The same voxels in the grid, of ``shape``, that was reoriented by ``steps``."""
        start, stop = [0, 0, 0], [0, 0, 0]
        for target, (source, flip) in enumerate(zip(steps.axes, steps.flips, strict=True)):
            low, high = self.start[target], self.stop[target]
            start[source], stop[source] = (shape[source] - high, shape[source] - low) if flip else (low, high)
        return Box((start[0], start[1], start[2]), (stop[0], stop[1], stop[2]))


def bounding_box(mask: NDArray[np.bool_]) -> Box:
    """Smallest box that holds every voxel of a non-empty mask (i, j, k)."""
    ranges = [np.flatnonzero(mask.any(axis=tuple({0, 1, 2} - {axis})))[[0, -1]].tolist() for axis in range(3)]
    (i, u), (j, v), (k, w) = ranges
    return Box((i, j, k), (u + 1, v + 1, w + 1))


class BoxMask(NamedTuple):
    """A box of the input's grid and a mask (i, j, k) of its voxels."""

    box: Box
    mask: NDArray[np.bool_]


def distance_mm(box: Box, position_mm: NDArray[np.float64], affine: NDArray[np.float64]) -> NDArray[np.float64]:
    """Distance of every voxel centre to a position, rounded so that symmetric voxels are equally far."""
    indices = np.stack(np.meshgrid(*map(np.arange, box.shape), indexing="ij"), axis=-1).astype(np.float64)
    points = index_to_mm(translated(affine, box.start), indices)
    return np.asarray(np.round(np.linalg.norm(points - position_mm, axis=-1), 6))
