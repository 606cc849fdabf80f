"""A sheet as pixels, on which text, lines and pictures are placed in inches from its upper left corner."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import numpy as np
from matplotlib import get_data_path
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

__all__ = ["POINT", "Canvas"]

#: Of text and lines, in inches.
POINT = 1 / 72
#: Around text on a picture, in points.
_HALO = 1.0
#: Circles are drawn so many times as large, and reduced.
_FINER = 4


class Canvas:
    """A white sheet.

    Args:
        width: inches.
        height: inches.
        dpi: dots per inch.
    """

    def __init__(self, width: float, height: float, dpi: float) -> None:
        self.dpi = dpi
        self._image = Image.new("RGB", (self._pixels(width), self._pixels(height)), "white")
        self._draw = ImageDraw.Draw(self._image)

    def pixels(self) -> NDArray[np.uint8]:
        """What is drawn, RGB (row, column, 3)."""
        return np.asarray(self._image)

    def picture(self, left: float, top: float, pixels: NDArray[np.uint8]) -> None:
        """Place a picture (row, column, 3), pixel by pixel."""
        self._image.paste(Image.fromarray(np.ascontiguousarray(pixels)), (self._pixels(left), self._pixels(top)))

    def rectangle(self, left: float, top: float, right: float, bottom: float, colour: str) -> None:
        """Fill a rectangle up to whole pixels, one at least."""
        x, y = self._pixels(left), self._pixels(top)
        self._fill(x, y, max(self._pixels(right), x + 1), max(self._pixels(bottom), y + 1), colour)

    def level_line(self, left: float, right: float, y: float, points: float, colour: str) -> None:
        """Draw a level line of so many points, a pixel at least, about the height ``y``."""
        width = max(self._pixels(points * POINT), 1)
        top = self._pixels(y - width / 2 / self.dpi)
        self._fill(self._pixels(left), top, self._pixels(right), top + width, colour)

    def upright_line(self, x: float, top: float, bottom: float, points: float, colour: str) -> None:
        """Draw an upright line of so many points, a pixel at least, about the place ``x``."""
        width = max(self._pixels(points * POINT), 1)
        left = self._pixels(x - width / 2 / self.dpi)
        self._fill(left, self._pixels(top), left + width, self._pixels(bottom), colour)

    def ring(self, x: float, y: float, diameter: float, colour: str) -> None:
        """Draw a circle, white inside, of a diameter and with a border of one point."""
        radius, border = (length * self.dpi * _FINER for length in (diameter / 2, POINT))
        side = 2 * (self._pixels(diameter / 2) + 2)
        column, row = (round(place * self.dpi - side / 2) for place in (x, y))
        middle = (x * self.dpi - column) * _FINER, (y * self.dpi - row) * _FINER
        for reach, filled in ((radius + border / 2, colour), (radius - border / 2, "white")):
            mask = Image.new("L", (side * _FINER, side * _FINER))
            ImageDraw.Draw(mask).ellipse([place + sign * reach for sign in (-1, 1) for place in middle], fill=255)
            self._image.paste(filled, (column, row, column + side, row + side), mask.reduce(_FINER))

    def text(
        self,
        x: float,
        y: float,
        text: str,
        points: float,
        *,
        colour: str = "black",
        anchor: str = "ls",
        bold: bool = False,
        halo: bool = False,
        most: float | None = None,
    ) -> None:
        """Write a line of text.

        Args:
            x: place of the anchor.
            y: place of the anchor.
            text: to write.
            points: size of the font.
            colour: of the letters.
            anchor: which part of the text lies there, in Pillow's two letters; ``ls`` is the left of the base line.
            bold: whether the letters are bold.
            halo: whether they have a black border, for text on a picture.
            most: width that the text may take; the end of a longer one is left out.
        """
        font = self._font(points, bold)
        line = " ".join(text.splitlines())
        shown = line if most is None else _shortened(line, font, most * self.dpi)
        stroke = max(self._pixels(_HALO * POINT), 1) if halo else 0
        place = (self._pixels(x), self._pixels(y))
        self._draw.text(place, shown, fill=colour, font=font, anchor=anchor, stroke_width=stroke, stroke_fill="black")

    def upward_text(self, right: float, y: float, text: str, points: float) -> None:
        """Write a line of black text that runs upwards; it ends left of ``right``, and its middle is at ``y``."""
        font = self._font(points, False)
        width, height = round(font.getlength(text)), sum(font.getmetrics())
        mask = Image.new("L", (width, height))
        ImageDraw.Draw(mask).text((0, 0), text, fill=255, font=font)
        upward = mask.transpose(Image.Transpose.ROTATE_90)
        self._image.paste("black", (self._pixels(right) - height, self._pixels(y) - width // 2), upward)

    def text_width(self, text: str, points: float) -> float:
        """Width of a line of text, inches."""
        return self._font(points, False).getlength(text) / self.dpi

    def _font(self, points: float, bold: bool) -> ImageFont.FreeTypeFont:
        return _font(points * POINT * self.dpi, bold)

    def _pixels(self, inches: float) -> int:
        return round(inches * self.dpi)

    def _fill(self, left: int, top: int, right: int, bottom: int, colour: str) -> None:
        if left < right and top < bottom:
            self._draw.rectangle((left, top, right - 1, bottom - 1), fill=colour)


@cache
def _font(pixels: float, bold: bool) -> ImageFont.FreeTypeFont:
    """Matplotlib's own font, which other figures have as well, and which has the letters of many scripts.

    Threads share it: Pillow keeps the interpreter's lock while it draws letters.
    """
    path = Path(get_data_path()) / "fonts" / "ttf" / f"DejaVuSans{'-Bold' if bold else ''}.ttf"
    return ImageFont.truetype(str(path), pixels, layout_engine=ImageFont.Layout.BASIC)


def _shortened(text: str, font: ImageFont.FreeTypeFont, pixels: float) -> str:
    """The text, without its end where it is too wide."""
    if font.getlength(text) <= pixels:
        return text
    kept = len(text)
    while kept and font.getlength(text[:kept] + "…") > pixels:
        kept -= 1
    return text[:kept] + "…"
