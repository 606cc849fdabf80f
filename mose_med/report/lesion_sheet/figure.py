"""A sheet for each lesion: its slices with all outlines, every expert on the middle slice, and its volume.

Slices show the radiologist's view (the patient's right is on the left) of a square around everything that a sample
draws there; axes count mm from the lesion's place.
"""

from __future__ import annotations

import math
from io import BytesIO

from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from mose_med.inferers import Lesion
from mose_med.report.colours import CONSENSUS_COLOUR, expert_colour
from mose_med.report.lesion_sheet.charts import draw_experts, draw_volume, lesion_facts
from mose_med.report.lesion_sheet.pictures import (
    draw_outlines,
    draw_samples,
    draw_scale_bar,
    show_image,
    show_map,
    slice_title,
)
from mose_med.report.lesion_sheet.view import lesion_view
from mose_med.report.lesion_volumes import LesionVolumes

__all__ = ["LesionFigure", "lesion_figure"]

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
        show_image(axes, volumes, view, k, slice_title(volumes, k, view.middle))
        draw_outlines(axes, [volumes.consensus[:, :, k]], volumes, view, CONSENSUS_COLOUR, 2.6)
        for expert in range(experts):
            draw_samples(axes, volumes, view, k, expert)
    below = "CT" if volumes.has_ct else "probability"
    sheet.heading(1, f"the middle slice: {below}, {what} {'experts ' if experts > 1 else ''}together")
    first, *others = sheet.panels(1)
    show_image(first, volumes, view, view.middle, below)
    draw_scale_bar(first, view)
    for expert in range(experts):
        title = f"expert {expert + 1}: {100 * lesion.expert_probs[expert]:.0f} %" if experts > 1 else "samples"
        show_image(others[expert], volumes, view, view.middle, title, expert_colour(expert))
        draw_samples(others[expert], volumes, view, view.middle, expert)
    show_map(others[experts], volumes, volumes.probability, view, "probability", "viridis", 1.0)
    show_map(others[experts + 1], volumes, volumes.entropy, view, "entropy, nats", "inferno", math.log(2))
    if experts > 1:
        draw_experts(sheet.chart(0.0, 0.3), lesion)
    draw_volume(sheet.chart(0.34, 0.38), lesion)
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
        labels, values = zip(*lesion_facts(lesion, volumes), strict=True)
        y = (2.2 * _EDGE + _CHARTS) / self.height
        for offset, lines, colour in ((0.0, labels, "0.4"), (0.09, values, "0.05")):
            x = (_EDGE + (left + offset) * inside) / self.width
            self.figure.text(x, y, "\n".join(lines), fontsize=9, va="top", linespacing=1.6, color=colour)
