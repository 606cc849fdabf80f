"""The area of a chart: where values lie on the sheet, and the axes around it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from mose_med.report.lesion_sheet.canvas import POINT, Canvas

__all__ = ["PlotArea"]

#: Sizes in points.
_LETTERS = 8.0
_LABEL = 8.5
_LINE = 0.8
_TICK = 3.5
_PAD = 3.5


class PlotArea(NamedTuple):
    """A rectangle of the canvas that shows a range of values.

    Attributes:
        canvas: to draw on.
        left: of the rectangle, inches; so are the next three.
        top: of the rectangle.
        width: of the rectangle.
        height: of the rectangle.
        across: values at its left and right.
        up: values at its bottom and top.
    """

    canvas: Canvas
    left: float
    top: float
    width: float
    height: float
    across: tuple[float, float]
    up: tuple[float, float]

    @property
    def bottom(self) -> float:
        """Of the rectangle, inches."""
        return self.top + self.height

    def x(self, value: float) -> float:
        """Place of a value, inches."""
        return self.left + (value - self.across[0]) / (self.across[1] - self.across[0]) * self.width

    def y(self, value: float) -> float:
        """Place of a value, inches."""
        return self.bottom - (value - self.up[0]) / (self.up[1] - self.up[0]) * self.height

    def x_axis(self, values: Sequence[float], names: Sequence[str], label: str) -> None:
        """Draw the axis below the rectangle, with ticks at values and their names, and what the values are."""
        line = _LINE * POINT / 2
        self.canvas.level_line(self.left - line, self.left + self.width, self.bottom, _LINE, "black")
        below = self.bottom + (_TICK + _PAD) * POINT
        for value, name in zip(values, names, strict=True):
            self.canvas.upright_line(self.x(value), self.bottom, self.bottom + _TICK * POINT, _LINE, "black")
            self.canvas.text(self.x(value), below, name, _LETTERS, anchor="mt")
        below += (_LETTERS + _PAD) * POINT
        self.canvas.text(self.left + self.width / 2, below, label, _LABEL, anchor="mt")

    def y_axis(self, values: Sequence[float], names: Sequence[str], label: str = "") -> None:
        """Draw the axis on the left of the rectangle, likewise."""
        self.canvas.upright_line(self.left, self.top, self.bottom, _LINE, "black")
        right = self.left - (_TICK + _PAD) * POINT
        for value, name in zip(values, names, strict=True):
            self.canvas.level_line(self.left - _TICK * POINT, self.left, self.y(value), _LINE, "black")
            self.canvas.text(right, self.y(value), name, _LETTERS, anchor="rm")
        if label:
            right -= max(self.canvas.text_width(name, _LETTERS) for name in names) + _PAD * POINT
            self.canvas.upward_text(right, self.top + self.height / 2, label, _LABEL)
