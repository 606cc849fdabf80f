"""Connected components (26 neighbours) of masks that may be as large as the case.

What touches a small mask, a support, is looked for in a box around it. The whole mask is labelled only where a
component continues beyond the box, or where the boxes of all supports together are as large as the mask. The answer is
the same.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from mose_med.inferers.boxes import Box, BoxMask, bounding_box

__all__ = ["Touching", "component_sizes", "labelled", "touching_components"]

_NEIGHBOURS_26 = np.ones((3, 3, 3), dtype=bool)
#: How far around a support its components are looked for before the whole mask is labelled, in voxels.
_MARGIN = 24
_COUNTED_SLICES = 16


class Touching(NamedTuple):
    """Components that touch a support: how many voxels they have, and the box that holds them; None without any."""

    voxels: int
    box: Box | None


def labelled(mask: NDArray[np.bool_]) -> tuple[NDArray[np.int32], int]:
    """Number of each voxel's component, 0 outside, and how many there are, for a mask whose first axis runs fastest."""
    labels, count = ndimage.label(mask.T, structure=_NEIGHBOURS_26)
    return labels.T, int(count)


def component_sizes(labels: NDArray[np.int32], count: int, inside: NDArray[np.bool_] | None = None) -> NDArray[np.intp]:
    """Voxels of every component, (count + 1,), 0 for what is outside; within a mask, if one is given."""
    sizes = np.zeros(count + 1, dtype=np.intp)
    # A few slices at a time, since numpy counts 64-bit copies.
    for first in range(0, labels.shape[2], _COUNTED_SLICES):
        part = labels[..., first : first + _COUNTED_SLICES]
        where = part > 0 if inside is None else (part > 0) & inside[..., first : first + _COUNTED_SLICES]
        sizes += np.bincount(part[where], minlength=count + 1)
    return sizes


def touching_components(
    crop: Callable[[Box], NDArray[np.bool_]], supports: Sequence[BoxMask], within: Box
) -> list[Touching]:
    """The components that touch each support.

    Args:
        crop: the mask's voxels in a box of the input's grid.
        supports: where to look.
        within: the box that holds the mask.
    """
    nearby = sum(int(np.prod(support.box.grown(_MARGIN, within).shape)) for support in supports)
    at_once = nearby >= int(np.prod(within.shape))
    found = [None if at_once else _touching_nearby(crop, support, within) for support in supports]
    if None not in found:
        return [touching for touching in found if touching is not None]
    labels, number = labelled(crop(within))
    sizes, parts = component_sizes(labels, number), ndimage.find_objects(labels)
    return [
        _joined(_touched(labels, support, within), sizes, parts, within) if touching is None else touching
        for touching, support in zip(found, supports, strict=True)
    ]


def _touching_nearby(crop: Callable[[Box], NDArray[np.bool_]], support: BoxMask, within: Box) -> Touching | None:
    """The components that touch a support; None if one continues beyond the margin."""
    box = support.box.grown(_MARGIN, within)
    labels, number = labelled(crop(box))
    of_support = np.zeros(number + 1, dtype=bool)
    of_support[_touched(labels, support, box)] = True
    touching = of_support[labels]
    voxels = int(np.count_nonzero(touching))
    if not voxels:
        return Touching(0, None)
    found = bounding_box(touching).moved(box.start)
    ends = zip(found.start, found.stop, box.start, box.stop, within.start, within.stop, strict=True)
    if any((low == start > first) or (high == stop < last) for low, high, start, stop, first, last in ends):
        return None
    return Touching(voxels, found)


def _joined(
    touched: NDArray[np.intp], sizes: NDArray[np.intp], parts: Sequence[tuple[slice, slice, slice]], box: Box
) -> Touching:
    """Of some components of a box, whose sizes and boxes in it are given."""
    if not len(touched):
        return Touching(0, None)
    edges = [[(part.start, part.stop) for part in parts[label - 1]] for label in touched.tolist()]
    low, high = np.min(edges, axis=0)[:, 0] + box.start, np.max(edges, axis=0)[:, 1] + box.start
    (i, j, k), (u, v, w) = low.tolist(), high.tolist()
    return Touching(int(sizes[touched].sum()), Box((i, j, k), (u, v, w)))


def _touched(labels: NDArray[np.int32], support: BoxMask, box: Box) -> NDArray[np.intp]:
    counts = np.bincount(labels[support.box.slices_in(box)][support.mask])
    return np.flatnonzero(counts[1:]) + 1
