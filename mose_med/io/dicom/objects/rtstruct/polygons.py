"""Plane polygons: their area and centre, and which pixels lie inside.

A pixel is inside if its centre is. A centre on the line itself is inside at the left and upper side of the polygon,
where indices are low, and outside at the right and lower side, so that of two polygons with a common side each pixel
is in one. What several polygons of one slice enclose is inside if their number is odd: an inner contour is a hole.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

__all__ = ["Areal", "areal_centre", "encloses", "pixels_inside"]

#: Vertices are taken for this exact, in pixels: text in a file has no more digits.
_DIGITS = 6
#: How far from the plane of a polygon a point may be, in mm.
_IN_PLANE_MM = 1e-2


class Areal(NamedTuple):
    """Area in mm2, and its centre (3,)."""

    area: float
    centre: NDArray[np.float64]


def areal_centre(points: NDArray[np.floating]) -> Areal:
    """Area and centre of a polygon in space, (n, 3): the sum of the triangles of its sides with its first point.

    Example:
        >>> areal_centre(np.array([[0, 0, 5], [4, 0, 5], [4, 2, 5], [0, 2, 5]]))
        Areal(area=8.0, centre=array([2., 1., 5.]))
    """
    first = np.asarray(points[0], dtype=np.float64)
    one, other = points[1:-1] - first, points[2:] - first
    crosses = np.cross(one, other) / 2
    normal = crosses.sum(axis=0)
    area = float(np.linalg.norm(normal))
    if not area:
        return Areal(0.0, np.asarray(points, dtype=np.float64).mean(axis=0))
    weights = crosses @ normal / area
    return Areal(area, first + weights @ (one + other) / 3 / area)


def encloses(points: NDArray[np.floating], place: NDArray[np.floating]) -> bool:
    """Whether a polygon in space, (n, 3), encloses a place of its plane, (3,).

    Example:
        >>> square = np.array([[0.0, 0, 5], [4, 0, 5], [4, 4, 5], [0, 4, 5]])
        >>> encloses(square, np.array([1, 3, 5])), encloses(square, np.array([1, 3, 6]))
        (True, False)
    """
    middle = points.mean(axis=0)
    axes = np.linalg.svd(points - middle, full_matrices=True)[2]
    if abs(float(axes[2] @ (place - middle))) > _IN_PLANE_MM:
        return False
    (x, y), start = axes[:2] @ (place - middle), (points - middle) @ axes[:2].T
    end = np.roll(start, -1, axis=0)
    crossing = (start[:, 1] <= y) != (end[:, 1] <= y)
    (x0, y0), (x1, y1) = start[crossing].T, end[crossing].T
    return int((x0 + (y - y0) / (y1 - y0) * (x1 - x0) <= x).sum()) % 2 == 1


def pixels_inside(polygons: Iterable[NDArray[np.floating]], shape: tuple[int, int]) -> NDArray[np.bool_]:
    """Pixels inside polygons whose vertices are (n, 2) indices of pixels, in the order of the axes of ``shape``.

    Example:
        >>> pixels_inside([np.array([[0.5, 0], [0.5, 3], [2, 3], [2, 0]])], (3, 4)).astype(int)
        array([[0, 0, 0, 0],
               [1, 1, 1, 0],
               [0, 0, 0, 0]])
    """
    inside = np.zeros(shape, dtype=bool)
    columns = np.arange(shape[1])
    for polygon in polygons:
        start = np.round(np.asarray(polygon, dtype=np.float64), _DIGITS)
        end = np.roll(start, -1, axis=0)
        first, last = np.clip(np.ceil([start[:, 0].min(), start[:, 0].max()]), 0, shape[0]).astype(int)
        for row in range(first, last):
            crossing = (start[:, 0] <= row) != (end[:, 0] <= row)
            (y0, x0), (y1, x1) = start[crossing].T, end[crossing].T
            at = np.sort(np.round(x0 + (row - y0) / (y1 - y0) * (x1 - x0), _DIGITS))
            inside[row] ^= np.searchsorted(at, columns, side="right") % 2 == 1
    return inside
