"""Connected components (26 neighbours) of masks that may be as large as the case.

What touches a small place is looked for in a box around it, which is widened to the whole only where a component goes
on beyond it. The answer is that of labelling the whole mask.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from mose_med.inferers.regions import Box

__all__ = ["Patch", "labelled", "touching_voxels"]

_NEIGHBOURS_26 = np.ones((3, 3, 3), dtype=bool)
#: How far around a place its components are looked for before the whole mask is labelled, in voxels.
_MARGIN = 24
#: Masks up to this size are labelled as a whole at once.
_SMALL = 1 << 21


class Patch(NamedTuple):
    """A small mask (i, j, k) and the box of the input's grid that it fills."""

    box: Box
    mask: NDArray[np.bool_]


def labelled(mask: NDArray[np.bool_]) -> tuple[NDArray[np.int32], int]:
    """Number of each voxel's component, 0 outside, and how many there are, for a mask whose first axis runs fastest."""
    labels, count = ndimage.label(mask.T, structure=_NEIGHBOURS_26)
    return labels.T, int(count)


def touching_voxels(crop: Callable[[Box], NDArray[np.bool_]], places: Sequence[Patch], within: Box) -> list[int]:
    """Voxels of the components that touch each place.

    Args:
        crop: the mask's voxels in a box of the input's grid.
        places: where to look.
        within: the box that holds the mask.
    """
    small = int(np.prod(within.shape)) <= _SMALL
    counts = [None if small else _touching_nearby(crop, place, within) for place in places]
    if None not in counts:
        return [count for count in counts if count is not None]
    labels, number = labelled(crop(within))
    sizes = np.bincount(labels.ravel("K"), minlength=number + 1)
    return [
        _voxels(labels, sizes, place, within) if count is None else count
        for count, place in zip(counts, places, strict=True)
    ]


def _touching_nearby(crop: Callable[[Box], NDArray[np.bool_]], place: Patch, within: Box) -> int | None:
    """Voxels of the components that touch a place; None if one goes on beyond the margin."""
    box = place.box.grown(_MARGIN, within)
    labels, number = labelled(crop(box))
    touched = _touched(labels, place, box)
    for axis, ends in enumerate(zip(box.start, box.stop, within.start, within.stop, strict=True)):
        start, stop, first, last = ends
        along = np.moveaxis(labels, axis, 0)
        rims = [along[0]] * (start > first) + [along[-1]] * (stop < last)
        if any(np.isin(rim, touched).any() for rim in rims):
            return None
    return _voxels(labels, np.bincount(labels.ravel("K"), minlength=number + 1), place, box)


def _voxels(labels: NDArray[np.int32], sizes: NDArray[np.intp], place: Patch, box: Box) -> int:
    return int(sizes[_touched(labels, place, box)].sum())


def _touched(labels: NDArray[np.int32], place: Patch, box: Box) -> NDArray[np.intp]:
    counts = np.bincount(labels[place.box.slices_in(box)][place.mask])
    return np.flatnonzero(counts[1:]) + 1
