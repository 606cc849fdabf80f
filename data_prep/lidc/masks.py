"""From contours to masks, equal to pylidc's ``Annotation.boolean_mask`` pixel for pixel.

A contour is drawn on the pixels just outside the nodule: what it encloses belongs to the nodule, the drawn pixels do
not. Masks are (row, col), as the contours are.
"""

from __future__ import annotations

from collections.abc import Iterable
from itertools import pairwise

import numpy as np
from matplotlib.path import Path as Polygon
from numpy.typing import NDArray

from data_prep.lidc.annotations import Contour

__all__ = ["mask_at", "slice_mask"]

#: From the middle of a drawn pixel, which is outside, to its edge, in pixels.
_HALF_PIXEL = 0.5


def slice_mask(contours: Iterable[Contour], shape: tuple[int, int]) -> NDArray[np.bool_]:
    """Mask of one reader's contours on one slice.

    Included regions are joined first, in the order given, then holes are cut out; every contour's own pixels are
    cleared when it is drawn, so that a later region may cover the outline of an earlier one.

    Args:
        contours: all on the same slice.
        shape: rows and columns of the slice; all points lie within.

    Returns:
        True inside the nodule, shape ``(rows, cols)``.
    """
    mask = np.zeros(shape, dtype=np.bool_)
    for contour in _in_order(contours):
        first, stop = contour.points.min(axis=0), contour.points.max(axis=0) + 1
        window = mask[first[0] : stop[0], first[1] : stop[1]]
        window[_enclosed(contour.points - first, window.shape)] = contour.inclusion
        mask[contour.points[:, 0], contour.points[:, 1]] = False
    return mask


def mask_at(contours: Iterable[Contour], rows: NDArray[np.floating], cols: NDArray[np.floating]) -> NDArray[np.bool_]:
    """Mask of one reader's contours on one slice, at places between its pixels.

    The same rule, taken from pixels to the plane: a drawn pixel is outside up to its edge, so that a place belongs to
    the nodule if it is enclosed, and half a pixel or more from the line through the drawn pixels. At whole indices this
    is :func:`slice_mask`, and the area of the nodule is about the same at any spacing.

    Args:
        contours: all on the same slice.
        rows: places along the rows in pixels, evenly spaced, ascending or descending.
        cols: places along the columns.

    Returns:
        True inside the nodule, shape ``(len(rows), len(cols))``.
    """
    mask = np.zeros((len(rows), len(cols)), dtype=np.bool_)
    for contour in _in_order(contours):
        low, high = contour.points.min(axis=0) - _HALF_PIXEL, contour.points.max(axis=0) + _HALF_PIXEL
        box = tuple(_between(places, a, b) for places, a, b in zip((rows, cols), low, high, strict=True))
        window = mask[box]
        places = np.stack(np.meshgrid(rows[box[0]], cols[box[1]], indexing="ij"), axis=-1).reshape(-1, 2)
        closed = np.concatenate([contour.points, contour.points[:1]])
        window[Polygon(closed, closed=True).contains_points(places).reshape(window.shape)] = contour.inclusion
        window[_on_line(places, closed).reshape(window.shape)] = False
    return mask


def _in_order(contours: Iterable[Contour]) -> list[Contour]:
    return sorted(contours, key=lambda contour: not contour.inclusion)


def _enclosed(points: NDArray[np.intp], shape: tuple[int, ...]) -> NDArray[np.bool_]:
    closed = np.concatenate([points, points[:1]])
    grid = np.indices(shape).reshape(2, -1).T
    return Polygon(closed, closed=True).contains_points(grid).reshape(shape)


def _between(places: NDArray[np.floating], low: float, high: float) -> slice:
    found = np.flatnonzero((places >= low) & (places <= high))
    return slice(found[0], found[-1] + 1) if found.size else slice(0, 0)


def _on_line(places: NDArray[np.floating], closed: NDArray[np.intp]) -> NDArray[np.bool_]:
    """Which of the places (P, 2) are closer than half a pixel, along rows and columns, to a line through points (V, 2).

    Along rows and columns, since every pixel of the line then takes half a pixel of area from the inside, whichever way
    the line goes; so do whole pixels that are counted (Pick's theorem).
    """
    near = np.zeros(len(places), dtype=np.bool_)
    for start, end in pairwise(closed):
        along, offset = end - start, places - start
        for axis in range(2):
            share = (offset[:, axis] * along[axis] / max(along[axis] ** 2, 1)).clip(0, 1)
            near |= np.abs(offset - share[:, None] * along).sum(axis=1) < _HALF_PIXEL
    return near
