"""Pictures on a sheet: slices, maps and outlines, each in a square of the canvas that all of them share."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from contourpy import LineType, contour_generator
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.collections import PathCollection
from matplotlib.image import AxesImage
from matplotlib.lines import Line2D
from matplotlib.patches import Rectangle
from matplotlib.path import Path
from matplotlib.patheffects import withStroke
from matplotlib.transforms import Bbox, TransformedBbox
from numpy.typing import NDArray
from scipy import ndimage

from mose_med.geometry import index_to_mm, spacing_mm
from mose_med.report.colours import expert_colour
from mose_med.report.lesion_sheet.view import LesionView
from mose_med.report.lesion_volumes import LesionVolumes

__all__ = ["Panel", "slice_title"]

#: Window of the CT, HU.
_WINDOW = (-1350, 150)
_SCALE_BAR_MM = 10
_HALO = (withStroke(linewidth=2.5, foreground="black"),)


class Panel(NamedTuple):
    """A square of the canvas, which shows the square of the view.

    Attributes:
        canvas: axes of the whole sheet, in inches from its lower left corner.
        left: of the square, inches.
        bottom: likewise.
        side: likewise.
        volumes: to show.
        view: which slices, and which square of them.
    """

    canvas: Axes
    left: float
    bottom: float
    side: float
    volumes: LesionVolumes
    view: LesionView

    def show_slice(self, k: int, title: str, colour: str | None = None) -> None:
        """Show a slice of the CT, or of the probability where no CT is given."""
        volumes = self.volumes
        shown, (low, high) = (volumes.image, _WINDOW) if volumes.has_ct else (volumes.probability, (0, 1))
        self._show((shown[:, :, k] - low) / (high - low), "gray")
        self._title(title)
        if colour is not None:
            top = self.bottom + self.side
            self._line(self.left, self.left + self.side, top, color=colour, linewidth=5)

    def show_map(self, values: NDArray[np.float32], title: str, colours: str, maximum: float) -> None:
        """Show the middle slice of a map, with its colour scale."""
        self._show(values[:, :, self.view.middle] / maximum, colours)
        self._title(title)
        left, bottom = self.left + 0.06 * self.side, self.bottom + 0.06 * self.side
        width, height = 0.5 * self.side, 0.045 * self.side
        scale = colormaps[colours](np.linspace(0, 1, 64)[None], bytes=True)
        self._add_image(scale, (left, left + width, bottom, bottom + height))
        self.canvas.add_artist(Rectangle((left, bottom), width, height, fill=False, edgecolor="white", linewidth=0.8))
        for share, text in ((0, "0"), (1, f"{maximum:.2g}")):
            place = left + share * width, bottom + 1.3 * height
            self.canvas.text(*place, text, fontsize=7, color="white", ha="center", va="bottom")

    def draw_samples(self, k: int, experts: slice = slice(None)) -> None:
        """Draw the outlines of all samples of some experts on a slice."""
        first, last, _ = experts.indices(self.volumes.samples.shape[3])
        masks = self.volumes.samples[:, :, k, experts]
        colours = [expert_colour(expert) for expert in range(first, last) for _ in range(masks.shape[3])]
        self._draw_outlines(masks.reshape(*masks.shape[:2], -1), colours, 0.9)

    def draw_consensus(self, k: int, colour: str) -> None:
        """Draw the outline of the consensus on a slice."""
        self._draw_outlines(self.volumes.consensus[:, :, k, None], [colour], 2.6)

    def draw_scale_bar(self) -> None:
        """Draw a bar of known length."""
        left, low = self.left + 0.06 * self.side, self.bottom + 0.07 * self.side
        length = _SCALE_BAR_MM * self.side / (2 * self.view.half_mm)
        self._line(left, left + length, low, color="white", linewidth=2, path_effects=_HALO)
        label = f"{_SCALE_BAR_MM} mm"
        self.canvas.text(
            left, low + 0.03 * self.side, label, color="white", fontsize=8, va="bottom", path_effects=_HALO
        )

    def _line(self, left: float, right: float, height: float, **style: Any) -> None:
        """Draw a level line. Artists are added as such, since the canvas's other methods look at all that it has."""
        self.canvas.add_artist(Line2D([left, right], [height, height], solid_capstyle="butt", **style))

    def _title(self, title: str) -> None:
        self.canvas.text(self.left + self.side / 2, self.bottom + self.side + 0.05, title, fontsize=8.5, ha="center")

    def _show(self, plane: NDArray[Any], colours: str) -> None:
        """Show a plane (i, j) of values from 0 to 1; beyond the volume it is black."""
        inside, x, y = self._inside(0.0)
        half_x, half_y = self._edges / 2
        self.canvas.add_artist(
            Rectangle((self.left, self.bottom), self.side, self.side, facecolor="black", linewidth=0, zorder=-1)
        )
        extent = (x[0] - half_x, x[-1] + half_x, y[-1] - half_y, y[0] + half_y)
        self._add_image(colormaps[colours](np.clip(plane[inside].T, 0, 1), bytes=True), extent)

    def _add_image(self, pixels: NDArray[np.uint8], extent: tuple[float, float, float, float]) -> None:
        image = AxesImage(self.canvas, extent=extent, interpolation="bilinear", origin="upper")
        image.set_data(pixels)
        self.canvas.add_artist(image)
        image.set_clip_box(self._clip)

    def _draw_outlines(self, masks: NDArray[np.bool_], colours: Sequence[str], width: float) -> None:
        """Borders of masks (i, j, number), half way between the centres of the voxels, each in its colour."""
        inside, x, y = self._inside(0.3 * self.side)
        corner = np.array([x[0], y[0]])
        scale = self._edges * (1, -1)
        borders = _borders(masks[inside])
        outlines = PathCollection(
            [Path(border * scale + corner, codes) for border, codes in borders.values()],
            facecolors="none",
            edgecolors=[colours[number] for number in borders],
            linewidths=width,
            transform=self.canvas.transData,
        )
        self.canvas.add_artist(outlines)
        outlines.set_clip_box(self._clip)

    def _inside(self, beyond: float) -> tuple[tuple[slice, slice], NDArray[np.float64], NDArray[np.float64]]:
        """Voxels in the square and ``beyond`` inches around it, one more on each side, and the places of their centres.

        Places are along i and j on the canvas; j runs down.
        """
        half = (self.side / 2 + beyond) / self._edges + 1
        spans = tuple(
            slice(max(math.floor(centre - reach), 0), math.ceil(centre + reach) + 1)
            for centre, reach in zip(self.view.centre, half, strict=True)
        )
        x, y = (
            (np.arange(self.volumes.image.shape[axis])[spans[axis]] - self.view.centre[axis]) * self._edges[axis]
            for axis in (0, 1)
        )
        return (spans[0], spans[1]), self.left + self.side / 2 + x, self.bottom + self.side / 2 - y

    @property
    def _edges(self) -> NDArray[np.float64]:
        """Of a voxel, along i and j on the canvas."""
        return np.asarray(spacing_mm(self.volumes.affine)[:2] * self.side / (2 * self.view.half_mm))

    @property
    def _box(self) -> tuple[float, float, float, float]:
        return self.left, self.bottom, self.left + self.side, self.bottom + self.side

    @property
    def _clip(self) -> TransformedBbox:
        return TransformedBbox(Bbox.from_extents(*self._box), self.canvas.transData)


def _borders(masks: NDArray[np.bool_]) -> dict[int, tuple[NDArray[np.float64], NDArray[np.uint8]]]:
    """Points (i, j) and codes of Matplotlib's paths around masks (i, j, number), by number where there is a border."""
    numbers = np.flatnonzero(masks.any(axis=(0, 1)))
    if not len(numbers):
        return {}
    ((i, j),) = ndimage.find_objects(masks.any(axis=2).astype(np.uint8))
    drawn = masks[i, j][:, :, numbers]
    # All lie in one plane, one below the other along i, and each is a chunk of its own.
    width, height = drawn.shape[0] + 2, drawn.shape[1] + 2
    plane = np.zeros((len(numbers), width, height))
    plane[:, 1:-1, 1:-1] = drawn.transpose(2, 0, 1)
    found: Any = contour_generator(
        z=plane.reshape(-1, height), line_type=LineType.ChunkCombinedCode, chunk_size=(width, height)
    )
    points, codes = found.lines(0.5)
    return {
        int(number): (points[place][:, ::-1] + (i.start - 1 - place * width, j.start - 1), codes[place])
        for place, number in enumerate(numbers)
    }


def slice_title(volumes: LesionVolumes, k: int, middle: int) -> str:
    """Position of a slice along the body."""
    z = index_to_mm(volumes.affine, np.array([0.0, 0.0, k]))[2]
    return f"z {z:.1f} mm" + (" (middle)" if k == middle else "")
