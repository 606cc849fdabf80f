"""A sheet for each lesion: its slices with all outlines, every expert on the middle slice, and its volume.

Slices show the radiologist's view (the patient's right is on the left) of a square around everything that a sample
draws there; axes count mm from the lesion's place.
"""

from __future__ import annotations

import math
from io import BytesIO
from typing import Any, NamedTuple

import numpy as np
from contourpy import contour_generator
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.collections import LineCollection
from matplotlib.figure import Figure
from matplotlib.patheffects import withStroke
from numpy.typing import NDArray
from scipy import ndimage

from mose_med.geometry import index_to_mm, mm_to_index, spacing_mm
from mose_med.inferers import Lesion
from mose_med.report.colours import CONSENSUS_COLOUR, expert_colour
from mose_med.report.histogram import volume_histogram
from mose_med.report.lesion_volumes import LesionVolumes

__all__ = ["LesionFigure", "LesionView", "lesion_figure", "lesion_view"]

#: Window of the CT, HU.
_WINDOW = (-1350, 150)
_MARGIN_MM = 8.0
_LEAST_SIDE_MM = 30.0
_SCALE_BAR_MM = 10
#: Dots per inch of a file, and on a screen.
_DPI = 130
_SCREEN_DPI = 60

# Sizes in inches.
_PANEL = 1.75
_GAP = 0.07
_EDGE = 0.2
_TITLE = 0.22
_HEADING = 0.3
_CHARTS = 1.55
_TOP = 0.45


class LesionView(NamedTuple):
    """Which part of the volumes is worth looking at.

    Attributes:
        middle: index of the slice where the samples draw most.
        slices: indices of the slices to show, upwards.
        half_mm: half the side of the square to show.
        centre: voxel index (i, j) of its centre.
    """

    middle: int
    slices: tuple[int, ...]
    half_mm: float
    centre: tuple[float, float]


def lesion_view(volumes: LesionVolumes, lesion: Lesion, columns: int) -> LesionView:
    """Choose the slices and the square: those around what the samples draw at the lesion's place.

    Args:
        volumes: of the box around the lesion.
        lesion: to look at.
        columns: how many slices to show; fewer if the box has fewer.
    """
    spacing, depth = spacing_mm(volumes.affine), volumes.image.shape[2]
    place = mm_to_index(volumes.affine, np.asarray(lesion.place_mm, dtype=np.float64))
    weights = np.broadcast_to(lesion.expert_probs[:, None], volumes.samples.shape[3:])
    drawn = np.einsum("ijkes,es->ijk", volumes.samples, weights)
    component = _component_at(drawn > 0, place, spacing)
    if not component.any():
        middle = int(np.clip(round(place[2]), 0, depth - 1))
        slices = _spread(middle, middle, middle, columns, depth)
        return LesionView(middle, slices, _LEAST_SIDE_MM / 2, (place[0], place[1]))
    middle = int(np.argmax((drawn * component).sum(axis=(0, 1))))
    i, j, k = ndimage.find_objects(component.astype(np.uint8))[0]
    extent_mm = max((i.stop - i.start) * spacing[0], (j.stop - j.start) * spacing[1])
    return LesionView(
        middle=middle,
        slices=_spread(k.start, middle, k.stop - 1, columns, depth),
        half_mm=max(extent_mm / 2 + _MARGIN_MM, _LEAST_SIDE_MM / 2),
        centre=((i.start + i.stop - 1) / 2, (j.start + j.stop - 1) / 2),
    )


class LesionFigure(Figure):
    """A figure that a notebook shows by itself."""

    def png(self, dpi: int = _DPI) -> bytes:
        """The figure as a PNG file; the same figure gives the same bytes."""
        file = BytesIO()
        self.savefig(file, format="png", dpi=dpi, metadata={"Software": None})
        return file.getvalue()

    def _repr_png_(self) -> bytes:
        return self.png(_SCREEN_DPI)


def lesion_figure(lesion: Lesion, volumes: LesionVolumes, *, case: str = "", label: str = "") -> LesionFigure:
    """Draw one lesion; where no CT is given, outlines lie over the marginal probability.

    Args:
        lesion: its numbers.
        volumes: of the box around it.
        case: name of the case, for the title.
        label: class of the lesion, for the title, where the case has several.
    """
    experts = len(lesion.expert_probs)
    columns = max(experts + 3, 6)
    view = lesion_view(volumes, lesion, columns)
    sheet = _Sheet(columns)
    sheet.title(lesion, case, label)
    whose, what = ("each expert's samples in its colour", "each expert's samples with the expert's probability, all")
    if experts == 1:
        whose, what = "samples in colour", "samples, all"
    sheet.heading(0, f"axial slices from feet to head: {whose}, the consensus broad and white")
    for axes, k in zip(sheet.panels(0), view.slices, strict=False):
        _show_image(axes, volumes, view, k, _slice_title(volumes, k, view.middle))
        _outline(axes, [volumes.consensus[:, :, k]], volumes, view, CONSENSUS_COLOUR, 2.6)
        for expert in range(experts):
            _outline_samples(axes, volumes, view, k, expert)
    below = "CT" if volumes.has_ct else "probability"
    sheet.heading(1, f"the middle slice: {below}, {what} {'experts ' if experts > 1 else ''}together")
    first, *others = sheet.panels(1)
    _show_image(first, volumes, view, view.middle, below)
    _scale_bar(first, view)
    for expert in range(experts):
        title = f"expert {expert + 1}: {100 * lesion.expert_probs[expert]:.0f} %" if experts > 1 else "samples"
        _show_image(others[expert], volumes, view, view.middle, title, expert_colour(expert))
        _outline_samples(others[expert], volumes, view, view.middle, expert)
    _show_map(others[experts], volumes, volumes.probability, view, "probability", "viridis", 1.0)
    _show_map(others[experts + 1], volumes, volumes.entropy, view, "entropy, nats", "inferno", math.log(2))
    if experts > 1:
        _draw_experts(sheet.chart(0.0, 0.3), lesion)
    _draw_volume(sheet.chart(0.34, 0.38), lesion)
    sheet.facts(0.76, lesion, volumes)
    return sheet.figure


class _Sheet:
    """Places the parts of a sheet, in inches."""

    def __init__(self, columns: int) -> None:
        self._columns = columns
        self.width = 2 * _EDGE + columns * (_PANEL + _GAP) - _GAP
        self.height = _TOP + 2 * (_HEADING + _TITLE + _PANEL) + 0.25 + _CHARTS + 2.6 * _EDGE
        self.figure = LesionFigure(figsize=(self.width, self.height), facecolor="white")
        FigureCanvasAgg(self.figure)

    def _top_of_row(self, row: int) -> float:
        return self.height - _TOP - row * (_HEADING + _TITLE + _PANEL)

    def _box(self, left: float, bottom: float, width: float, height: float) -> tuple[float, float, float, float]:
        return left / self.width, bottom / self.height, width / self.width, height / self.height

    def title(self, lesion: Lesion, case: str, label: str) -> None:
        name = f" {label}".rstrip() + ("" if lesion.name == str(lesion.number) else f" ({lesion.name})")
        y = 1 - 0.25 / self.height
        left, right = _EDGE / self.width, 1 - _EDGE / self.width
        self.figure.text(left, y, f"Lesion {lesion.number}{name}", fontsize=13, fontweight="bold", va="center")
        self.figure.text(right, y, f"{case}   research only", fontsize=9, color="0.35", va="center", ha="right")

    def heading(self, row: int, text: str) -> None:
        y = (self._top_of_row(row) - 0.2) / self.height
        self.figure.text(_EDGE / self.width, y, text, fontsize=9, color="0.25", va="center")

    def panels(self, row: int) -> list[Axes]:
        bottom = self._top_of_row(row) - _HEADING - _TITLE - _PANEL
        lefts = [_EDGE + column * (_PANEL + _GAP) for column in range(self._columns)]
        boxes = [self._box(left, bottom, _PANEL, _PANEL) for left in lefts]
        axes = [self.figure.add_axes(box) for box in boxes]
        for one in axes:
            one.set_axis_off()
        return axes

    def chart(self, left: float, width: float) -> Axes:
        """Axes below the pictures; ``left`` and ``width`` are shares of the width inside the edges."""
        inside = self.width - 2 * _EDGE
        box = self._box(_EDGE + 0.55 + left * inside, 2.2 * _EDGE, width * inside - 0.55, _CHARTS)
        axes = self.figure.add_axes(box)
        axes.spines[["top", "right"]].set_visible(False)
        axes.tick_params(labelsize=8)
        return axes

    def facts(self, left: float, lesion: Lesion, volumes: LesionVolumes) -> None:
        inside = self.width - 2 * _EDGE
        labels, values = zip(*_facts(lesion, volumes), strict=True)
        y = (2.2 * _EDGE + _CHARTS) / self.height
        for offset, lines, colour in ((0.0, labels, "0.4"), (0.09, values, "0.05")):
            x = (_EDGE + (left + offset) * inside) / self.width
            self.figure.text(x, y, "\n".join(lines), fontsize=9, va="top", linespacing=1.6, color=colour)


def _component_at(
    drawn: NDArray[np.bool_], place: NDArray[np.float64], spacing: NDArray[np.float64]
) -> NDArray[np.bool_]:
    """The connected component of ``drawn`` that is nearest to a place."""
    labels, count = ndimage.label(drawn, structure=np.ones((3, 3, 3)))
    if count == 0:
        return np.zeros_like(drawn)
    voxels = np.argwhere(labels)
    nearest = voxels[np.argmin((((voxels - place) * spacing) ** 2).sum(axis=1))]
    return np.asarray(labels == labels[tuple(nearest)])


def _spread(low: int, middle: int, high: int, columns: int, depth: int) -> tuple[int, ...]:
    """At most ``columns`` slices from ``low`` to ``high``, ``middle`` among them; more around where they are fewer."""
    missing = max(columns - (high - low + 1), 0)
    low, high = max(low - missing // 2, 0), min(high + missing - missing // 2, depth - 1)
    slices = np.unique(np.rint(np.linspace(low, high, columns)).astype(int))
    slices[np.abs(slices - middle).argmin()] = middle
    return tuple(slices.tolist())


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


def _show_image(
    axes: Axes, volumes: LesionVolumes, view: LesionView, k: int, title: str, colour: str | None = None
) -> None:
    shown, (low, high) = (volumes.image, _WINDOW) if volumes.has_ct else (volumes.probability, (0, 1))
    _show(axes, shown[:, :, k], volumes, view, cmap="gray", vmin=low, vmax=high)
    axes.set_title(title, fontsize=8.5, pad=3)
    if colour is not None:
        axes.plot([0, 1], [1, 1], transform=axes.transAxes, color=colour, linewidth=5, solid_capstyle="butt")


def _show_map(
    axes: Axes,
    volumes: LesionVolumes,
    values: NDArray[np.float32],
    view: LesionView,
    title: str,
    colours: str,
    maximum: float,
) -> None:
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


def _outline(
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


def _outline_samples(axes: Axes, volumes: LesionVolumes, view: LesionView, k: int, expert: int) -> None:
    masks = [volumes.samples[:, :, k, expert, sample] for sample in range(volumes.samples.shape[4])]
    _outline(axes, masks, volumes, view, expert_colour(expert), 0.9)


def _slice_title(volumes: LesionVolumes, k: int, middle: int) -> str:
    z = index_to_mm(volumes.affine, np.array([0.0, 0.0, k]))[2]
    return f"z {z:.1f} mm" + (" (middle)" if k == middle else "")


def _scale_bar(axes: Axes, view: LesionView) -> None:
    left, low = -0.88 * view.half_mm, 0.86 * view.half_mm
    halo = [withStroke(linewidth=2.5, foreground="black")]
    axes.plot(
        [left, left + _SCALE_BAR_MM], [low, low], color="white", linewidth=2, solid_capstyle="butt", path_effects=halo
    )
    label = f"{_SCALE_BAR_MM} mm"
    axes.text(left, low - 0.06 * view.half_mm, label, color="white", fontsize=8, va="bottom", path_effects=halo)


def _draw_experts(axes: Axes, lesion: Lesion) -> None:
    count = len(lesion.expert_probs)
    shares = 100 * lesion.expert_probs
    bars = axes.barh(range(count), shares, color=[expert_colour(k) for k in range(count)], height=0.7)
    axes.bar_label(bars, labels=[f"{share:.1f} %" for share in shares], fontsize=8, padding=3)
    axes.set(xlim=(0, 118), xticks=range(0, 101, 25), yticks=range(count), ylim=(count - 0.4, -0.6))
    axes.set_yticklabels([f"expert {k + 1}" for k in range(count)])
    axes.set_xlabel("probability of the expert, %", fontsize=8.5)


def _draw_volume(axes: Axes, lesion: Lesion) -> None:
    histogram = volume_histogram(lesion.volume_ml.samples, lesion.expert_probs)
    width = float(histogram.edges_ml[1])
    positions = np.concatenate([[-1.5 * width], histogram.edges_ml[:-1]])
    shares = 100 * np.concatenate([histogram.empty[:, None], histogram.by_expert], axis=1)
    base = np.zeros(len(positions))
    for expert, of_expert in enumerate(shares):
        axes.bar(positions, of_expert, width * 0.92, base, align="edge", color=expert_colour(expert), edgecolor="white")
        base += of_expert
    top = max(float(base.max()), 1e-9)
    volume = lesion.volume_ml
    axes.plot([volume.p05, volume.p95], [1.12 * top] * 2, color="0.1", linewidth=2.5, solid_capstyle="butt")
    axes.plot(volume.p50, 1.12 * top, marker="|", markersize=10, markeredgewidth=1.8, color="0.1")
    axes.plot(volume.mean, 1.12 * top, marker="o", markersize=5, color="white", markeredgecolor="0.1")
    axes.set(ylim=(0, 1.22 * top), xlim=(-1.8 * width, histogram.edges_ml[-1]))
    ticks = histogram.edges_ml[:: (len(histogram.edges_ml) - 1) // 4]
    axes.set_xticks([-1.04 * width, *ticks], ["empty", *(f"{tick:.3g}" for tick in ticks)])
    axes.set_ylabel("probability, %", fontsize=8.5)
    axes.set_xlabel("volume, ml (line: 5 to 95 %, stroke: median, ring: mean)", fontsize=8.5)


def _facts(lesion: Lesion, volumes: LesionVolumes) -> list[tuple[str, str]]:
    volume = lesion.volume_ml
    low, median, high = (f"{quantile:.3g}" for quantile in (volume.p05, volume.p50, volume.p95))
    x, y, z = lesion.place_mm
    facts = [
        ("volume", f"{median} ml (median)"),
        ("5 to 95 %", f"{low} to {high} ml"),
        ("mean", f"{volume.mean:.3g} ml"),
        ("P(empty)", f"{100 * lesion.p_empty:.1f} %"),
        ("place", f"L {-x:.1f}  P {-y:.1f}  S {z:.1f} mm"),
        ("voxels", " x ".join(f"{edge:.3g}" for edge in spacing_mm(volumes.affine)) + " mm"),
    ]
    if not lesion.in_consensus:
        facts.append(("consensus", "none here"))
    if lesion.touches_edge:
        facts.append(("edge", "volume may be cut off"))
    return facts
