"""Pictures on a sheet: slices, maps and outlines. Axes count mm from the centre of the view."""

from __future__ import annotations

from typing import Any

import numpy as np
from contourpy import contour_generator
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.patheffects import withStroke
from numpy.typing import NDArray

from mose_med.geometry import index_to_mm, spacing_mm
from mose_med.report.colours import expert_colour
from mose_med.report.lesion_sheet.view import LesionView
from mose_med.report.lesion_volumes import LesionVolumes

__all__ = ["draw_outlines", "draw_samples", "draw_scale_bar", "show_image", "show_map", "slice_title"]

#: Window of the CT, HU.
_WINDOW = (-1350, 150)
_SCALE_BAR_MM = 10


def _axes_mm(volumes: LesionVolumes, view: LesionView) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Positions of the voxel centres along i and j in mm from the centre of the view."""
    edges = spacing_mm(volumes.affine)
    i, j = (np.asarray((np.arange(volumes.image.shape[axis]) - view.centre[axis]) * edges[axis]) for axis in (0, 1))
    return i, j


def _show(axes: Axes, plane: NDArray[Any], volumes: LesionVolumes, view: LesionView, **colours: Any) -> None:
    i, j = _axes_mm(volumes, view)
    half_i, half_j = spacing_mm(volumes.affine)[:2] / 2
    extent = (i[0] - half_i, i[-1] + half_i, j[-1] + half_j, j[0] - half_j)
    axes.set_facecolor("black")
    axes.imshow(plane.T, extent=extent, interpolation="bilinear", aspect="auto", **colours)
    axes.set(xlim=(-view.half_mm, view.half_mm), ylim=(view.half_mm, -view.half_mm))


def show_image(
    axes: Axes, volumes: LesionVolumes, view: LesionView, k: int, title: str, colour: str | None = None
) -> None:
    """Show a slice of the CT, or of the probability where no CT is given."""
    shown, (low, high) = (volumes.image, _WINDOW) if volumes.has_ct else (volumes.probability, (0, 1))
    _show(axes, shown[:, :, k], volumes, view, cmap="gray", vmin=low, vmax=high)
    axes.set_title(title, fontsize=8.5, pad=3)
    if colour is not None:
        axes.plot([0, 1], [1, 1], transform=axes.transAxes, color=colour, linewidth=5, solid_capstyle="butt")


def show_map(
    axes: Axes,
    volumes: LesionVolumes,
    values: NDArray[np.float32],
    view: LesionView,
    title: str,
    colours: str,
    maximum: float,
) -> None:
    """Show the middle slice of a map, with its colour scale."""
    _show(axes, values[:, :, view.middle], volumes, view, cmap=colours, vmin=0, vmax=maximum)
    axes.set_title(title, fontsize=8.5, pad=3)
    scale = axes.inset_axes((0.06, 0.06, 0.5, 0.045))
    scale.imshow(np.linspace(0, 1, 64)[None], cmap=colours, aspect="auto", extent=(0, maximum, 0, 1))
    scale.set(yticks=[], xticks=[0, maximum])
    scale.set_xticklabels(["0", f"{maximum:.2g}"], fontsize=7, color="white")
    scale.xaxis.set_ticks_position("top")
    scale.tick_params(length=0, pad=1)
    for spine in scale.spines.values():
        spine.set_color("white")


def draw_outlines(
    axes: Axes, masks: list[NDArray[np.bool_]], volumes: LesionVolumes, view: LesionView, colour: str, width: float
) -> None:
    """Borders of masks (i, j), half way between the centres of the voxels."""
    i, j = _axes_mm(volumes, view)
    shown = np.ix_(abs(i) <= view.half_mm + 5, abs(j) <= view.half_mm + 5)
    x, y = i[shown[0].ravel()], j[shown[1].ravel()]
    lines: list[Any] = []
    for mask in masks:
        lines += contour_generator(x, y, mask[shown].T.astype(float)).lines(0.5)
    axes.add_collection(LineCollection(lines, colors=colour, linewidths=width), autolim=False)


def draw_samples(axes: Axes, volumes: LesionVolumes, view: LesionView, k: int, expert: int) -> None:
    """Draw the outlines of all samples of an expert on a slice."""
    masks = [volumes.samples[:, :, k, expert, sample] for sample in range(volumes.samples.shape[4])]
    draw_outlines(axes, masks, volumes, view, expert_colour(expert), 0.9)


def slice_title(volumes: LesionVolumes, k: int, middle: int) -> str:
    """Position of a slice along the body."""
    z = index_to_mm(volumes.affine, np.array([0.0, 0.0, k]))[2]
    return f"z {z:.1f} mm" + (" (middle)" if k == middle else "")


def draw_scale_bar(axes: Axes, view: LesionView) -> None:
    """Draw a bar of known length."""
    left, low = -0.88 * view.half_mm, 0.86 * view.half_mm
    halo = [withStroke(linewidth=2.5, foreground="black")]
    axes.plot(
        [left, left + _SCALE_BAR_MM], [low, low], color="white", linewidth=2, solid_capstyle="butt", path_effects=halo
    )
    label = f"{_SCALE_BAR_MM} mm"
    axes.text(left, low - 0.06 * view.half_mm, label, color="white", fontsize=8, va="bottom", path_effects=halo)
