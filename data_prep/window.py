"""Windows of a fixed size, which may reach past the edge of the image, and the spacing of their voxels."""

from __future__ import annotations

import math
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from mose_med.errors import ConfigError
from mose_med.geometry import window_overlap

__all__ = ["in_plane_window", "require_spacing"]

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


def require_spacing(spacing_mm: float | None) -> None:
    """Refuse a spacing that is no length; None is each image's own.

    Raises:
        ConfigError: if it is not > 0.
    """
    if spacing_mm is not None and not 0 < spacing_mm < math.inf:
        raise ConfigError(f"spacing must be native or a length > 0 mm, got {spacing_mm:g}")
