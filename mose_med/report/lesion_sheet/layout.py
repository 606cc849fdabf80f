"""Where the parts of a sheet lie, in inches from its upper left corner."""

from __future__ import annotations

import math
from typing import NamedTuple

__all__ = ["EDGE", "PANEL", "SheetLayout", "sheet_layout"]

#: Side of a picture.
PANEL = 1.75
#: Empty around the sheet.
EDGE = 0.2
#: Pictures side by side, at least and at most.
_COLUMNS = (6, 10)
_GAP = 0.07
_TITLE = 0.22
_HEADING = 0.3
_CHARTS = 1.55
_BAR = 0.135
_TOP = 0.45
#: Below the charts, for their axes.
_AXIS = 0.44
_FOOT = 0.08


class SheetLayout(NamedTuple):
    """Places of the pictures, row by row, and of the charts below them.

    Attributes:
        columns: pictures side by side.
        rows: of pictures; there is a heading over the first and over the second.
        charts: height of the charts.
    """

    columns: int
    rows: int
    charts: float

    @property
    def width(self) -> float:
        """Of the sheet."""
        return 2 * EDGE + self.inside

    @property
    def inside(self) -> float:
        """Width of the sheet between its edges."""
        return self.columns * (PANEL + _GAP) - _GAP

    @property
    def height(self) -> float:
        """Of the sheet."""
        return self.charts_top + self.charts + _AXIS + _FOOT

    @property
    def charts_top(self) -> float:
        """Upper end of the charts."""
        return self._top_of_row(self.rows) + 0.25

    def square(self, number: int) -> tuple[float, float]:
        """Left and top of a picture, counted row by row."""
        row, column = divmod(number, self.columns)
        top = self._top_of_row(row) + (_HEADING if row < 2 else 0.0) + _TITLE
        return EDGE + column * (PANEL + _GAP), top

    def heading(self, row: int) -> float:
        """Middle of the heading over a row."""
        return self._top_of_row(row) + 0.2

    def _top_of_row(self, row: int) -> float:
        return _TOP + row * (_TITLE + PANEL) + min(row, 2) * _HEADING


def sheet_layout(experts: int) -> SheetLayout:
    """Layout of a sheet with one row of slices, and a picture each for the CT, the experts and two maps below it.

    Example:
        >>> sheet_layout(experts=16)[:2]
        (10, 3)
    """
    below = experts + 3
    columns = min(max(below, _COLUMNS[0]), _COLUMNS[1])
    return SheetLayout(columns, 1 + math.ceil(below / columns), max(_CHARTS, experts * _BAR))
