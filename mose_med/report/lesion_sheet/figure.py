"""A sheet for each lesion: its slices with all outlines, every expert on the middle slice, and its volume.

Slices show the radiologist's view (the patient's right is on the left) of a square around everything that a sample
draws there.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from mose_med.errors import require
from mose_med.geometry import index_to_mm
from mose_med.inferers import Lesion
from mose_med.report.colours import expert_colour
from mose_med.report.lesion_sheet.canvas import POINT, Canvas
from mose_med.report.lesion_sheet.charts import draw_experts, draw_volume, lesion_facts
from mose_med.report.lesion_sheet.layout import EDGE, PANEL, sheet_layout
from mose_med.report.lesion_sheet.pictures import colour_scale, plane_picture, slice_pictures, voxel_grid
from mose_med.report.lesion_sheet.view import lesion_view
from mose_med.report.lesion_volumes import LesionVolumes
from mose_med.report.png import png_bytes

__all__ = ["LesionFigure", "lesion_figure"]

#: Dots per inch of a file, and on a screen.
_DPI = 100
_SCREEN_DPI = 60
#: Letters cannot be read below, and a sheet takes 200 MB above.
_LEAST_DPI, _MOST_DPI = 20, 600
_FINER = 2
_SCALE_BAR_MM = 10
_HEADING_COLOUR = "#404040"
_FACT_COLOURS = ("#666666", "#0d0d0d")
#: Left of a chart, for its axis, inches.
_AXIS = 0.65
#: From the label of a fact to its value, inches.
_FACT = 0.75


@dataclass(frozen=True, eq=False)
class LesionFigure:
    """A sheet that a notebook shows by itself, drawn as pixels whenever it is asked for.

    It is no figure of Matplotlib's, and cannot be saved as a drawing of lines (PDF, SVG).

    Attributes:
        lesion: its numbers.
        volumes: of the box around it.
        case: name of the case, for the title.
        label: class of the lesion, for the title.
    """

    lesion: Lesion
    volumes: LesionVolumes
    case: str = ""
    label: str = ""

    def pixels(self, dpi: float = _DPI) -> NDArray[np.uint8]:
        """The sheet as RGB (row, column, 3), with so many dots per inch.

        Raises:
            ConfigError: if ``dpi`` is not from 20 to 600.
        """
        require(_LEAST_DPI <= dpi <= _MOST_DPI, f"dpi must be from {_LEAST_DPI} to {_MOST_DPI}, got {dpi:g}")
        return _Sheet(self, dpi).drawn()

    def png(self, dpi: float = _DPI) -> bytes:
        """The sheet as a PNG file; the same sheet gives the same bytes."""
        return png_bytes(self.pixels(dpi), dpi)

    def _repr_png_(self) -> bytes:
        finer = Image.fromarray(self.pixels(_FINER * _SCREEN_DPI))  # small letters are drawn badly
        return png_bytes(np.asarray(finer.reduce(_FINER)), _SCREEN_DPI)


def lesion_figure(lesion: Lesion, volumes: LesionVolumes, *, case: str = "", label: str = "") -> LesionFigure:
    """The sheet of one lesion; where no CT is given, outlines lie over the marginal probability.

    Args:
        lesion: its numbers.
        volumes: of the box around it.
        case: name of the case, for the title.
        label: class of the lesion, for the title, where the case has several.
    """
    return LesionFigure(lesion, volumes, case, label)


class _Sheet:
    """Draws the parts of a sheet."""

    def __init__(self, figure: LesionFigure, dpi: float) -> None:
        self._figure = figure
        self._lesion, self._volumes = figure.lesion, figure.volumes
        self._experts = len(self._lesion.expert_probs)
        self._layout = sheet_layout(self._experts)
        self._view = lesion_view(self._volumes, self._lesion, self._layout.columns)
        self._canvas = Canvas(self._layout.width, self._layout.height, dpi)
        self._side = round(PANEL * dpi)

    def drawn(self) -> NDArray[np.uint8]:
        """All of it, RGB (row, column, 3)."""
        self._title()
        self._headings()
        self._slices()
        self._maps()
        left, inside = EDGE + _AXIS, self._layout.inside
        if self._experts > 1:
            draw_experts(self._canvas, self._chart(left, 0.3 * inside - _AXIS), self._lesion)
        draw_volume(self._canvas, self._chart(left + 0.34 * inside, 0.38 * inside - _AXIS), self._lesion)
        self._facts()
        return self._canvas.pixels()

    def _title(self) -> None:
        lesion, half = self._lesion, self._layout.inside / 2 - EDGE
        name = f" {self._figure.label}".rstrip() + ("" if lesion.name == str(lesion.number) else f" ({lesion.name})")
        self._canvas.text(EDGE, 0.25, f"Lesion {lesion.number}{name}", 13, anchor="lm", bold=True, most=half)
        right = self._layout.width - EDGE
        text = f"{self._figure.case}   research only"
        self._canvas.text(right, 0.25, text, 9, colour="#595959", anchor="rm", most=half)

    def _headings(self) -> None:
        several = self._experts > 1
        whose = "each expert's samples in its colour" if several else "samples in colour"
        what = "each expert's samples with the expert's probability, all experts" if several else "samples, all"
        for row, text in (
            (0, f"axial slices from feet to head: {whose}, the consensus broad and white"),
            (1, f"the middle slice: {self._below}, {what} together"),
        ):
            self._canvas.text(EDGE, self._layout.heading(row), text, 9, colour=_HEADING_COLOUR, anchor="lm")

    @property
    def _below(self) -> str:
        """What the outlines lie over."""
        return "CT" if self._volumes.has_ct else "probability"

    def _slices(self) -> None:
        view, columns = self._view, self._layout.columns
        pictures = slice_pictures(self._volumes, view, self._side, self._canvas.dpi)
        for column, (k, picture) in enumerate(zip(view.slices, pictures.slices, strict=True)):
            self._panel(column, picture, slice_title(self._volumes, k, view.middle))
        self._panel(columns, pictures.plain, self._below)
        self._scale_bar(columns)
        for expert, picture in enumerate(pictures.experts):
            share = f"expert {expert + 1}: {100 * self._lesion.expert_probs[expert]:.0f} %"
            number = columns + 1 + expert
            self._panel(number, picture, share if self._experts > 1 else "samples")
            left, top = self._layout.square(number)
            self._canvas.rectangle(left, top - 0.02, left + PANEL, top + 0.05, expert_colour(expert))

    def _maps(self) -> None:
        volumes, number = self._volumes, self._layout.columns + 1 + self._experts
        self._map(number, volumes.probability, "probability", "viridis", 1.0)
        self._map(number + 1, volumes.entropy, "entropy, nats", "inferno", math.log(2))

    def _map(self, number: int, values: NDArray[np.float32], title: str, colours: str, maximum: float) -> None:
        """Draw the middle slice of a map, with its colour scale."""
        grid = voxel_grid(self._volumes, self._view, self._side)
        self._panel(number, plane_picture(values[:, :, self._view.middle] / maximum, grid, colours), title)
        left, top = self._layout.square(number)
        left, above = left + 0.06 * PANEL, top + 0.895 * PANEL
        width, height = round(0.5 * self._side), max(round(0.045 * self._side), 3)
        self._canvas.picture(left, above, colour_scale(colours, width, height))
        for share, text in ((0.0, "0"), (0.5, f"{maximum:.2g}")):
            place = left + share * PANEL, above - 0.02 * PANEL
            self._canvas.text(*place, text, 7, colour="white", anchor="ms", halo=True)

    def _panel(self, number: int, picture: NDArray[np.uint8], title: str) -> None:
        left, top = self._layout.square(number)
        self._canvas.picture(left, top, picture)
        self._canvas.text(left + PANEL / 2, top - 0.05, title, 8.5, anchor="ms", most=PANEL)

    def _scale_bar(self, number: int) -> None:
        left, top = self._layout.square(number)
        left, y = left + 0.06 * PANEL, top + 0.93 * PANEL
        right = left + _SCALE_BAR_MM * PANEL / (2 * self._view.half_mm)
        self._canvas.level_line(left - POINT / 4, right + POINT / 4, y, 2.5, "black")
        self._canvas.level_line(left, right, y, 2, "white")
        self._canvas.text(left, y - 0.04 * PANEL, f"{_SCALE_BAR_MM} mm", 8, colour="white", halo=True)

    def _chart(self, left: float, width: float) -> tuple[float, float, float, float]:
        return left, self._layout.charts_top, width, self._layout.charts

    def _facts(self) -> None:
        x = EDGE + 0.73 * self._layout.inside
        for line, texts in enumerate(lesion_facts(self._lesion, self._volumes)):
            y = self._layout.charts_top + 0.13 + 0.2 * line
            for offset, text, colour in zip((0.0, _FACT), texts, _FACT_COLOURS, strict=True):
                most = self._layout.width - EDGE / 2 - x - offset
                self._canvas.text(x + offset, y, text, 9, colour=colour, most=most)


def slice_title(volumes: LesionVolumes, k: int, middle: int) -> str:
    """Position of a slice along the body."""
    z = index_to_mm(volumes.affine, np.array([0.0, 0.0, k]))[2]
    return f"z {z:.1f} mm" + (" (middle)" if k == middle else "")
