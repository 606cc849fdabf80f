"""Pictures of a sheet: slices, the outlines on them, and maps, as squares of pixels."""

from __future__ import annotations

import math
from functools import cache
from typing import Any, NamedTuple

import numpy as np
from matplotlib import colormaps
from numpy.typing import NDArray
from PIL import Image, ImageColor

from mose_med.geometry import spacing_mm
from mose_med.report.colours import CONSENSUS_COLOUR, expert_colour
from mose_med.report.lesion_sheet.outlines import Grid, border_pieces, coverage
from mose_med.report.lesion_sheet.view import LesionView
from mose_med.report.lesion_volumes import LesionVolumes

__all__ = ["SlicePictures", "colour_scale", "plane_picture", "slice_pictures", "voxel_grid"]

#: Window of the CT, HU.
_WINDOW = (-1350, 150)
# Widths of outlines, in inches.
_THIN = 1.04 / 72
_BROAD = 2.6 / 72


class SlicePictures(NamedTuple):
    """Pictures, RGB of shape (side, side, 3) each.

    Attributes:
        slices: with all outlines, (slices, side, side, 3).
        plain: the middle slice without any.
        experts: the middle slice with the outlines of each expert, (K, side, side, 3).
    """

    slices: NDArray[np.uint8]
    plain: NDArray[np.uint8]
    experts: NDArray[np.uint8]


def voxel_grid(volumes: LesionVolumes, view: LesionView, side: int) -> Grid:
    """Where the voxels of a slice lie in a picture of the view's square, ``side`` pixels wide."""
    x, y = (float(edge) * side / (2 * view.half_mm) for edge in spacing_mm(volumes.affine)[:2])
    return Grid(side, (side / 2 - view.centre[0] * x, side / 2 - view.centre[1] * y), (x, y))


def slice_pictures(volumes: LesionVolumes, view: LesionView, side: int, dpi: float) -> SlicePictures:
    """Draw the slices of the view, of the CT or of the probability where no CT is given, with their outlines.

    Args:
        volumes: of the box around the lesion.
        view: which slices, and which square of them.
        side: of a picture, pixels.
        dpi: dots per inch, which make the width of the outlines.
    """
    grid, slices = voxel_grid(volumes, view, side), list(view.slices)
    shown, (low, high) = (volumes.image, _WINDOW) if volumes.has_ct else (volumes.probability, (0, 1))
    grey = [plane_picture((shown[:, :, k] - low) / (high - low), grid, "gray") for k in slices]
    pictures = np.stack(grey).astype(np.float32)
    middle = slices.index(view.middle)
    plain = pictures[middle : middle + 1].copy()
    inside = _seen(grid, volumes.image.shape, beyond=_BROAD * dpi + 2)
    grid = grid.from_voxel(inside[1].start, inside[0].start)
    consensus = volumes.consensus.T[None, slices][:, :, *inside]
    _paint(pictures, coverage(border_pieces(consensus), grid, _BROAD * dpi), CONSENSUS_COLOUR)
    experts = []
    for expert, masks in enumerate(volumes.samples.transpose(3, 4, 2, 1, 0)):
        cover = coverage(border_pieces(masks[:, slices][:, :, *inside]), grid, _THIN * dpi)
        _paint(pictures, cover, expert_colour(expert))
        alone = plain.copy()
        _paint(alone, cover[middle : middle + 1], expert_colour(expert))
        experts.append(_bytes(alone[0]))
    return SlicePictures(_bytes(pictures), _bytes(plain[0]), np.stack(experts))


def colour_scale(colours: str, width: int, height: int) -> NDArray[np.uint8]:
    """A scale of colours from left to right, with a white border, shape (height, width, 3)."""
    scale = np.full((height, width, 3), 255, np.uint8)
    scale[1:-1, 1:-1] = _table(colours)[np.linspace(0, 255, width - 2).round().astype(int)]
    return scale


def plane_picture(plane: NDArray[Any], grid: Grid, colours: str) -> NDArray[np.uint8]:
    """Draw a plane (i, j) of values, cut off to 0 to 1, in one of Matplotlib's scales of colours.

    Returns:
        RGB of shape (side, side, 3), black beyond the plane.
    """
    levels = np.rint(255 * np.clip(plane.T, 0, 1)).astype(np.uint8)
    picture = np.zeros((grid.side, grid.side, 3), np.uint8)
    across, down = (_span(grid, axis, plane.shape[axis]) for axis in (0, 1))
    padded = np.pad(levels, (down.padding, across.padding), mode="edge")
    size = across.stop - across.start, down.stop - down.start
    box = across.first, down.first, across.last, down.last
    resized = Image.fromarray(padded).resize(size, Image.Resampling.BILINEAR, box)
    picture[down.start : down.stop, across.start : across.stop] = _table(colours)[np.asarray(resized)]
    return picture


class _Span(NamedTuple):
    """Pixels of a picture that show voxels along an axis, and the part of the padded voxels that they show."""

    start: int
    stop: int
    padding: int
    first: float
    last: float


def _span(grid: Grid, axis: int, voxels: int) -> _Span:
    step = grid.step[axis]
    corner = grid.first[axis] - step / 2
    start = min(max(math.floor(corner), 0), grid.side - 1)
    stop = max(min(math.ceil(corner + voxels * step), grid.side), start + 1)
    padding = math.ceil(1 / step)  # a pixel that shows the last voxel in part is taken to show it wholly
    return _Span(start, stop, padding, (start - corner) / step + padding, (stop - corner) / step + padding)


def _seen(grid: Grid, shape: tuple[int, ...], beyond: float) -> tuple[slice, slice]:
    """Voxels (y, x) in the picture and ``beyond`` pixels around it."""
    spans = []
    for axis in (1, 0):
        first, last = ((end - grid.first[axis]) / grid.step[axis] for end in (-beyond, grid.side + beyond))
        start = min(max(math.floor(first), 0), shape[axis] - 1)
        spans.append(slice(start, max(min(math.ceil(last) + 1, shape[axis]), start + 1)))
    return spans[0], spans[1]


def _paint(pictures: NDArray[np.float32], cover: NDArray[np.float64], colour: str) -> None:
    """Lay a colour over pictures (number, side, side, 3), as far as it covers their pixels (number, side, side)."""
    shares = cover.ravel()
    there = np.flatnonzero(shares > 0)
    pixels = pictures.reshape(-1, 3)
    under = pixels[there]
    over = np.array(ImageColor.getrgb(colour), np.float32)
    pixels[there] = under + (over - under) * shares[there, None].astype(np.float32)


def _bytes(pictures: NDArray[np.float32]) -> NDArray[np.uint8]:
    return np.rint(pictures).astype(np.uint8)


@cache
def _table(colours: str) -> NDArray[np.uint8]:
    """The 256 colours of a scale, RGB."""
    return np.asarray(colormaps[colours](np.arange(256), bytes=True)[:, :3])
