"""Windows of a fixed size, which may reach past the edge of the image."""

from __future__ import annotations

from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from mose_med.geometry import window_overlap

__all__ = ["in_plane_window"]

Scalar = TypeVar("Scalar", bound=np.generic)


def in_plane_window(
    array: NDArray[Scalar], start: tuple[int, ...], size: tuple[int, int], fill: float
) -> NDArray[Scalar]:
    r"""Part of ``array`` (i, j, \*rest) that begins at ``start`` along i and j, filled where it reaches past the edge.

    Example:
        >>> in_plane_window(np.array([[1, 2], [3, 4]]), (1, -1), (2, 2), fill=0)
        array([[0, 3],
               [0, 0]])
    """
    window = np.full((*size, *array.shape[2:]), fill, dtype=array.dtype)
    source, inside = window_overlap(start, size, array.shape[:2])
    window[inside] = array[source]
    return window
