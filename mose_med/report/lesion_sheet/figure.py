"""A sheet for each lesion: its slices with all outlines, every expert on the middle slice, and its volume.

Slices show the radiologist's view (the patient's right is on the left) of a square around everything that a sample
draws there.
"""

from __future__ import annotations

import math
from io import BytesIO
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from numpy.typing import NDArray
from PIL import Image

from mose_med.inferers import Lesion
from mose_med.report.colours import CONSENSUS_COLOUR, expert_colour
from mose_med.report.lesion_sheet.charts import draw_experts, draw_volume, lesion_facts
from mose_med.report.lesion_sheet.pictures import Panel, slice_title
from mose_med.report.lesion_sheet.view import lesion_view
from mose_med.report.lesion_volumes import LesionVolumes

__all__ = ["LesionFigure", "lesion_figure"]

#: Dots per inch of a file, and on a screen.
_DPI = 100
_SCREEN_DPI = 60
#: zlib's level of a file: 3 % larger than at the usual level 6, in half the time.
_COMPRESSION = 3

#: Pictures side by side.
_COLUMNS = (6, 10)

# Sizes in inches.
_PANEL = 1.75
_GAP = 0.07
_EDGE = 0.2
_TITLE = 0.22
_HEADING = 0.3
_CHARTS = 1.55
_BAR = 0.135
_TOP = 0.45


class LesionFigure(Figure):
    """A figure that a notebook shows by itself."""

    def pixels(self, dpi: int = _DPI) -> NDArray[np.uint8]:
        """The figure as RGB (row, column, 3)."""
        canvas, own = FigureCanvasAgg(self), self.dpi
        self.set_dpi(dpi)
        canvas.draw()
        self.set_dpi(own)
        return np.asarray(canvas.buffer_rgba())[..., :3].copy()

    def png(self, dpi: int = _DPI) -> bytes:
        """The figure as a PNG file; the same figure gives the same bytes."""
        file = BytesIO()
        Image.fromarray(self.pixels(dpi)).save(file, format="png", dpi=(dpi, dpi), compress_level=_COMPRESSION)
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
    columns = int(np.clip(experts + 3, *_COLUMNS))
    view = lesion_view(volumes, lesion, columns)
    sheet = _Sheet(columns, 1 + math.ceil((experts + 3) / columns), max(_CHARTS, experts * _BAR))
    sheet.title(lesion, case, label)
    whose, what = ("each expert's samples in its colour", "each expert's samples with the expert's probability, all")
    if experts == 1:
        whose, what = "samples in colour", "samples, all"
    sheet.heading(0, f"axial slices from feet to head: {whose}, the consensus broad and white")
    for column, k in enumerate(view.slices):
        panel = Panel(sheet.canvas, *sheet.square(column), volumes, view)
        panel.show_slice(k, slice_title(volumes, k, view.middle))
        panel.draw_consensus(k, CONSENSUS_COLOUR)
        panel.draw_samples(k)
    below = "CT" if volumes.has_ct else "probability"
    sheet.heading(1, f"the middle slice: {below}, {what} {'experts ' if experts > 1 else ''}together")
    first, *others = (Panel(sheet.canvas, *sheet.square(columns + n), volumes, view) for n in range(experts + 3))
    first.show_slice(view.middle, below)
    first.draw_scale_bar()
    for expert in range(experts):
        title = f"expert {expert + 1}: {100 * lesion.expert_probs[expert]:.0f} %" if experts > 1 else "samples"
        others[expert].show_slice(view.middle, title, expert_colour(expert))
        others[expert].draw_samples(view.middle, slice(expert, expert + 1))
    others[experts].show_map(volumes.probability, "probability", "viridis", 1.0)
    others[experts + 1].show_map(volumes.entropy, "entropy, nats", "inferno", math.log(2))
    if experts > 1:
        draw_experts(sheet.chart(0.0, 0.3), lesion)
    draw_volume(sheet.chart(0.34, 0.38), lesion)
    sheet.facts(0.76, lesion, volumes)
    return sheet.figure


class _Sheet:
    """Places the parts of a sheet, in inches.

    Args:
        columns: pictures side by side.
        rows: of pictures; there is a heading over the first and over the second.
        charts: height of the charts.
    """

    def __init__(self, columns: int, rows: int, charts: float) -> None:
        self._columns = columns
        self._charts = charts
        self.width = 2 * _EDGE + columns * (_PANEL + _GAP) - _GAP
        self.height = _TOP + 2 * _HEADING + rows * (_TITLE + _PANEL) + 0.25 + charts + 2.6 * _EDGE
        self.figure = LesionFigure(figsize=(self.width, self.height), facecolor="white", dpi=_DPI)
        # One axes for everything but the charts: axes for every picture would take most of the time.
        self.canvas: Axes = self.figure.add_axes((0.0, 0.0, 1.0, 1.0))
        self.canvas.set_axis_off()
        self.canvas.set(xlim=(0, self.width), ylim=(0, self.height), autoscale_on=False)

    def square(self, number: int) -> tuple[float, float, float]:
        """Left, bottom and side of a picture, counted row by row."""
        row, column = divmod(number, self._columns)
        top = self._top_of_row(row) - (_HEADING if row < 2 else 0.0)
        return _EDGE + column * (_PANEL + _GAP), top - _TITLE - _PANEL, _PANEL

    def _top_of_row(self, row: int) -> float:
        return self.height - _TOP - row * (_TITLE + _PANEL) - min(row, 2) * _HEADING

    def title(self, lesion: Lesion, case: str, label: str) -> None:
        name = f" {label}".rstrip() + ("" if lesion.name == str(lesion.number) else f" ({lesion.name})")
        y = self.height - 0.25
        bold: dict[str, Any] = {"fontsize": 13, "fontweight": "bold"}
        self.canvas.text(_EDGE, y, f"Lesion {lesion.number}{name}", va="center", **bold)
        right = self.width - _EDGE
        self.canvas.text(right, y, f"{case}   research only", fontsize=9, color="0.35", va="center", ha="right")

    def heading(self, row: int, text: str) -> None:
        self.canvas.text(_EDGE, self._top_of_row(row) - 0.2, text, fontsize=9, color="0.25", va="center")

    def chart(self, left: float, width: float) -> Axes:
        """Axes below the pictures; ``left`` and ``width`` are shares of the width inside the edges."""
        inside = self.width - 2 * _EDGE
        box = (_EDGE + 0.55 + left * inside, 2.2 * _EDGE, width * inside - 0.55, self._charts)
        across, up = 1 / self.width, 1 / self.height
        axes = self.figure.add_axes((box[0] * across, box[1] * up, box[2] * across, box[3] * up))
        axes.spines[["top", "right"]].set_visible(False)
        axes.tick_params(labelsize=8)
        return axes

    def facts(self, left: float, lesion: Lesion, volumes: LesionVolumes) -> None:
        inside = self.width - 2 * _EDGE
        labels, values = zip(*lesion_facts(lesion, volumes), strict=True)
        for offset, lines, colour in ((0.0, labels, "0.4"), (0.09, values, "0.05")):
            x, y = _EDGE + (left + offset) * inside, 2.2 * _EDGE + self._charts
            self.canvas.text(x, y, "\n".join(lines), fontsize=9, va="top", linespacing=1.6, color=colour)
