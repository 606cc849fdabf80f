"""Regions: the boxes of a case where the network looked, and what it said there.

Everything is kept per voxel of the input's own grid and small: the N = K S sample masks as bits, expert means and
gating in half precision. Axes: i, j, k space, K experts, S samples per expert, ``n = k S + s``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple, TypeVar

import numpy as np
from numpy.typing import NDArray

from mose_med.geometry import Reorientation

__all__ = ["Box", "Region", "assembled", "bounding_box", "pack", "unpack"]

Scalar = TypeVar("Scalar", bound=np.generic)
#: Slices of which a quantity is computed at a time.
_SLAB_DEPTH = 16


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
        """To cut the box out of a volume."""
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
        """The voxels that both have; of no size along an axis where they have none."""
        start = np.maximum(self.start, other.start).tolist()
        stop = np.maximum(np.minimum(self.stop, other.stop), start).tolist()
        return Box((start[0], start[1], start[2]), (stop[0], stop[1], stop[2]))

    def grown(self, voxels: int | Sequence[int], within: Box) -> Box:
        """The box and so many voxels more on each side (along each axis), as far as they lie in another box.

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
        """To cut the box out of an array that holds ``outer``."""
        i, j, k = (slice(a - o, b - o) for a, b, o in zip(self.start, self.stop, outer.start, strict=True))
        return i, j, k

    def union(self, other: Box) -> Box:
        """Smallest box that holds both."""
        start = np.minimum(self.start, other.start).tolist()
        stop = np.maximum(self.stop, other.stop).tolist()
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
    """Smallest box that holds every voxel of a mask (i, j, k) that has some."""
    ranges = [np.flatnonzero(mask.any(axis=tuple({0, 1, 2} - {axis})))[[0, -1]].tolist() for axis in range(3)]
    (i, u), (j, v), (k, w) = ranges
    return Box((i, j, k), (u + 1, v + 1, w + 1))


def pack(masks: NDArray[np.bool_]) -> NDArray[np.uint8]:
    """Masks (..., N) as bits (..., ceil(N / 8)), first mask in the highest bit."""
    return np.packbits(masks, axis=-1)


def unpack(bits: NDArray[np.uint8], index: int) -> NDArray[np.bool_]:
    """Mask ``index`` (...) of bits (..., ceil(N / 8)).

    Example:
        >>> unpack(pack(np.array([[False, True, False]])), 1)
        array([ True])
    """
    return np.asarray((bits[..., index // 8] >> (7 - index % 8)) & 1 == 1)


class Region(NamedTuple):
    """What the network said in one box of the input's grid.

    Attributes:
        box: where.
        sample_bits: masks of the samples, bits (i, j, k, ceil(K S / 8)).
        expert_means: mean foreground probability of every expert, float16 (i, j, k, K).
        gating: expert probabilities, float16 (i, j, k, K); all 0 where no window was.
        standard_bits: masks of the standard form, bits (i, j, k, ceil(N' / 8)); no bits if it was not asked for.
    """

    box: Box
    sample_bits: NDArray[np.uint8]
    expert_means: NDArray[np.float16]
    gating: NDArray[np.float16]
    standard_bits: NDArray[np.uint8]

    def crop(self, box: Box) -> Region:
        """The part that lies in a box of the input's grid; arrays are views."""
        inner = self.box.intersection(box)
        part = inner.slices_in(self.box)
        return Region(
            inner, self.sample_bits[part], self.expert_means[part], self.gating[part], self.standard_bits[part]
        )

    def looked(self) -> NDArray[np.bool_]:
        """Where a window was, (i, j, k)."""
        return np.asarray(self.gating.any(axis=-1))

    def expert_probs(self) -> NDArray[np.float32]:
        """Expert probabilities (i, j, k, K), summing to 1 where a window was and 0 elsewhere."""
        gating = self.gating.astype(np.float32)
        total = gating.sum(axis=-1, keepdims=True)
        return np.asarray(np.divide(gating, total, out=np.zeros_like(gating), where=total > 0))

    def probability(self) -> NDArray[np.float32]:
        """Marginal foreground probability (i, j, k): expert means weighted by expert probabilities."""
        return np.asarray((self.expert_probs() * self.expert_means.astype(np.float32)).sum(axis=-1))

    def consensus(self) -> NDArray[np.bool_]:
        """Where the marginal probability is above one half, (i, j, k)."""
        return self.probability() > 0.5


def assembled(
    regions: Sequence[Region],
    quantity: Callable[[Region], NDArray[Scalar]],
    box: Box,
    dtype: type[Scalar],
    release: Callable[[], None] = lambda: None,
    shares: Sequence[NDArray[np.bool_] | None] | None = None,
) -> NDArray[Scalar]:
    """What regions say of a box of the input's grid, together.

    Args:
        regions: of the case.
        quantity: of a region, (i, j, k); computed a few slices at a time.
        box: of the input's grid.
        dtype: of the result.
        release: called after every few slices, to let their pages go.
        shares: of every region the voxels (i, j, k) of its box that it tells of, or None for all; None if no two
            regions share a voxel.

    Returns:
        (i, j, k) of the box, 0 outside the regions; the first axis runs fastest in memory.
    """
    result = np.zeros(box.shape, dtype=dtype, order="F")
    for region, share in zip(regions, shares or [None] * len(regions), strict=True):
        for part in region.box.intersection(box).slabs():
            where = True if share is None else share[part.slices_in(region.box)]
            np.copyto(result[part.slices_in(box)], quantity(region.crop(part)), where=where, casting="unsafe")
            release()
    return result
