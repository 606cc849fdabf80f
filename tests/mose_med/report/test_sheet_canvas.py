from __future__ import annotations

import numpy as np
import pytest

from mose_med.report.lesion_sheet.canvas import Canvas


def drawn(canvas: Canvas) -> np.ndarray:
    """Left, top, right and bottom of what is not white, in pixels."""
    y, x = np.nonzero((canvas.pixels() != 255).any(axis=2))
    return np.array([x.min(), y.min(), x.max() + 1, y.max() + 1])


def test_lines_and_rectangles_take_whole_pixels_at_their_places():
    canvas = Canvas(2, 1, 100)
    canvas.rectangle(0.5, 0.25, 1.5, 0.75, "red")
    np.testing.assert_array_equal(drawn(canvas), (50, 25, 150, 75))
    assert (canvas.pixels()[25:75, 50:150] == (255, 0, 0)).all()
    thin = Canvas(2, 1, 100)
    thin.level_line(0.1, 0.9, 0.5, 0.1, "black")
    np.testing.assert_array_equal(np.ptp(drawn(thin).reshape(2, 2), axis=0), (80, 1))


@pytest.mark.parametrize("dpi", [60, 100, 230])
def test_a_line_of_text_is_cut_to_the_width_that_it_may_take(dpi: int):
    canvas = Canvas(3, 1, dpi)
    canvas.text(0.5, 0.5, "nodule ЛЁГКОЕ\nπνεύμονας " * 9, 9, most=1.5)
    left, top, right, bottom = drawn(canvas) / dpi
    assert 0.5 <= left < 0.6
    assert 1.8 < right <= 2.0 + 1 / dpi
    assert bottom - top < 0.2
    whole = Canvas(3, 1, dpi)
    whole.text(0.5, 0.5, "nodule", 9, most=1.5)
    assert drawn(whole)[2] / dpi - 0.5 == pytest.approx(whole.text_width("nodule", 9), abs=2 / dpi)


def test_a_ring_is_white_inside():
    canvas = Canvas(1, 1, 100)
    canvas.rectangle(0, 0, 1, 1, "red")
    canvas.ring(0.5, 0.5, 0.2, "black")
    pixels = canvas.pixels()
    assert (pixels[48:52, 48:52] == 255).all()
    assert pixels[50, 38:42, 0].min() < 100
    assert (pixels[50, [35, 64]] == (255, 0, 0)).all()


def test_text_runs_upwards_beside_an_axis():
    canvas = Canvas(1, 2, 100)
    canvas.upward_text(0.6, 1.0, "probability, %", 9)
    left, top, right, bottom = drawn(canvas) / 100
    assert 0.4 < left < right <= 0.6
    assert (top + bottom) / 2 == pytest.approx(1.0, abs=0.05)
