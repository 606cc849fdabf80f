"""Outlines of masks, drawn by what they cover of every pixel.

An outline runs half way between the centres of voxels that differ. Between four neighbouring centres (a cell) it is one
of six straight pieces, so that all outlines of an expert on a slice are one byte a cell, however many samples share
them. Each piece is drawn as points, and each point is spread over the four pixels around it.
"""

from __future__ import annotations

import math
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

__all__ = ["PIECES", "Grid", "border_pieces", "coverage"]

#: Ends (x, y) of the pieces in a cell whose corners are voxels, by the bit that stands for the piece.
PIECES = (
    ((0.5, 0.0), (0.5, 1.0)),
    ((0.0, 0.5), (1.0, 0.5)),
    ((0.5, 0.0), (0.0, 0.5)),
    ((0.5, 0.0), (1.0, 0.5)),
    ((0.5, 1.0), (0.0, 0.5)),
    ((0.5, 1.0), (1.0, 0.5)),
)
#: Pixels. A line up to this width is drawn by single points, which takes a fifth of the time.
_WIDEST_POINT = 1.5


class Grid(NamedTuple):
    """Where the voxels of a slice lie in a square picture.

    Attributes:
        side: of the picture, pixels.
        first: place (x, y) of the centre of the first voxel, in pixels from the corner of the picture.
        step: pixels (x, y) from one voxel to the next.
    """

    side: int
    first: tuple[float, float]
    step: tuple[float, float]

    def from_voxel(self, x: int, y: int) -> Grid:
        """The grid that begins with another voxel."""
        return self._replace(first=(self.first[0] + x * self.step[0], self.first[1] + y * self.step[1]))


class _Dots(NamedTuple):
    """The points that draw a piece, for each cell along y and x; shapes (points, cells).

    Attributes:
        row: first of the two rows of pixels that a point is spread over, counted from one above the picture.
        below: what the second of them gets, in pixels.
        column: first of the two columns, counted from one left of the picture.
        right: share of the second of them.
        weight: what a point covers, in pixels.
    """

    row: NDArray[np.intp]
    below: NDArray[np.float64]
    column: NDArray[np.intp]
    right: NDArray[np.float64]
    weight: float


def border_pieces(masks: NDArray[np.bool_]) -> NDArray[np.uint8]:
    """Pieces of the outlines that at least one mask has, each a bit of :data:`PIECES`.

    Where two set voxels touch at a corner alone, the outline keeps them apart.

    Args:
        masks: shape (masks, slices, y, x).

    Returns:
        Shape (slices, y + 2, x + 2): cell (n, y, x) lies between the voxels y - 1, y and x - 1, x of slice n. Beyond
        the slice nothing is set.
    """
    _, slices, height, width = masks.shape
    row = width + 2
    pieces = np.zeros((slices, height + 2, row), np.uint8)
    cells = pieces.reshape(-1)[: -row - 1]
    for first in range(0, len(masks), 8):
        packed = np.zeros_like(pieces)  # a bit for each of eight masks
        for bit, mask in enumerate(masks[first : first + 8]):
            packed[:, 1:-1, 1:-1] |= mask.view(np.uint8) << np.uint8(bit)
        flat = packed.reshape(-1)
        corners = flat[: -row - 1], flat[1:-row], flat[row:-1], flat[row + 1 :]
        for bit, found in enumerate(_pieces_of_cells(*corners)):
            cells |= (found != 0).view(np.uint8) << np.uint8(bit)
    return pieces


def _pieces_of_cells(
    a: NDArray[np.uint8], b: NDArray[np.uint8], c: NDArray[np.uint8], d: NDArray[np.uint8]
) -> tuple[NDArray[Any], ...]:
    """The masks (bits) that have each piece, from those that hold the upper left, right, lower left, right corner."""
    top, bottom, left, right = a ^ b, c ^ d, a ^ c, b ^ d
    return (
        top & bottom & ~left,
        left & right & ~top,
        top & left & (a | ~right),
        top & right & (b | ~left),
        bottom & left & (c | ~right),
        bottom & right & (d | ~top),
    )


def coverage(pieces: NDArray[np.uint8], grid: Grid, width: float) -> NDArray[np.float64]:
    """Share of every pixel that lines along the pieces cover.

    Args:
        pieces: from :func:`border_pieces`, shape (slices, y + 2, x + 2).
        grid: of the voxels that the pieces were made of.
        width: of the line, pixels.

    Returns:
        0 to 1, shape (slices, side, side).
    """
    slices, padded = len(pieces), grid.side + 2  # a pixel on every side takes what lies beyond the picture
    cells = np.flatnonzero(pieces != 0)
    drawn = pieces.reshape(-1)[cells]
    line, column_of_cell = np.divmod(cells, pieces.shape[2])
    slice_of_cell, row_of_cell = np.divmod(line, pieces.shape[1])
    places, shares = [], []
    for bit, dots in enumerate(_dots(pieces.shape[1:], grid, width)):
        here = np.flatnonzero(drawn & np.uint8(1 << bit))
        x, y = column_of_cell[here], row_of_cell[here]
        first = slice_of_cell[here] * padded**2 + dots.row[:, y] * padded + dots.column[:, x]
        right, below = dots.right[:, x], dots.below[:, y]
        above = dots.weight - below
        places += [first, first + 1, first + padded, first + padded + 1]
        shares += [above * (1 - right), above * right, below * (1 - right), below * right]
    pixels = np.concatenate([place.ravel() for place in places])
    weights = np.concatenate([share.ravel() for share in shares])
    covered = np.bincount(pixels, weights, minlength=slices * padded**2 + padded + 2)[: slices * padded**2]
    return np.minimum(covered.reshape(slices, padded, padded)[:, 1:-1, 1:-1], 1.0)


@lru_cache(maxsize=8)  # the experts of a sheet share theirs
def _dots(cells: tuple[int, int], grid: Grid, width: float) -> list[_Dots]:
    """Points along every piece in every row and column of cells, no more than a pixel apart, broad as the brush."""
    brush, cover = _brush(width)
    dots = []
    for ends in np.array(PIECES):
        length = math.dist(*(ends * grid.step))
        number = max(math.ceil(length), 1)
        along = ends[0] + (np.arange(number)[:, None] + 0.5) / number * (ends[1] - ends[0])
        places = (along[:, None] + brush / grid.step).reshape(-1, 2)
        weight = cover * length / len(places)
        column, right = _pixels(places[:, 0], cells[1], grid, 0)
        row, below = _pixels(places[:, 1], cells[0], grid, 1)
        dots.append(_Dots(row, below * weight, column, right, weight))
    return dots


def _pixels(
    places: NDArray[np.float64], cells: int, grid: Grid, axis: int
) -> tuple[NDArray[np.intp], NDArray[np.float64]]:
    """First of the two pixels that places in each cell along an axis are spread over, and the share of the second.

    Args:
        places: in a cell, in voxels, shape (points,).
        cells: how many there are along the axis; the first begins a voxel before the first voxel.
        grid: of the voxels.
        axis: 0 for x, 1 for y.

    Returns:
        Shapes (points, cells); pixels are counted from one before the picture, and what is farther away is moved there.
    """
    voxels = np.arange(cells) - 1 + places[:, None]
    pixels = np.clip(grid.first[axis] + voxels * grid.step[axis] - 0.5, -1, grid.side) + 1
    whole = np.floor(pixels)
    return whole.astype(np.intp), pixels - whole


def _brush(width: float) -> tuple[NDArray[np.float64], float]:
    """Places (x, y) of the brush that draws a line of this width, and what it covers in pixels for each of its length.

    A point spread over four pixels draws a line that fades within a pixel on both sides; what it covers beyond a whole
    pixel is lost. So it covers more than its width, as much as leaves a straight line of this width. A broad line is
    drawn by a disc, whose cover is fitted to the same end: of lines of 1.6 to 7 pixels, it is right within 3 %.
    """
    if width <= _WIDEST_POINT:
        return np.zeros((1, 2)), width if width <= 1 else 1 / (2 - width)
    number = math.ceil(width) + 1
    across = ((np.arange(number) + 0.5) / number - 0.5) * width
    square = np.stack(np.meshgrid(across, across), axis=-1).reshape(-1, 2)
    return np.asarray(square[np.hypot(*square.T) <= width / 2]), width * (0.85 + 0.13 * width)
