"""Connected components (26 neighbours) of masks that may be as large as the case."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

__all__ = ["component_sizes", "labelled"]

_NEIGHBOURS_26 = np.ones((3, 3, 3), dtype=bool)
_COUNTED_SLICES = 16


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
