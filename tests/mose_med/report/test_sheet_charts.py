from __future__ import annotations

import numpy as np
import pytest
from PIL import ImageColor

from mose_med.inferers import Lesion
from mose_med.io.case.folder import open_folder
from mose_med.report.colours import expert_colour
from mose_med.report.lesion_sheet.canvas import Canvas
from mose_med.report.lesion_sheet.charts import _round_steps, draw_experts, draw_volume
from tests.fixtures.report import ReportCase

BOX = (0.7, 0.1, 3.0, 1.6)


@pytest.fixture(scope="module")
def lesion(report_case: ReportCase) -> Lesion:
    found = open_folder(report_case.folder).lesions[0]
    samples = np.array([[0.0, 1.0, 1.0, 1.0], [0.0, 3.9, 3.9, 3.9]])
    volume = found.volume_ml._replace(samples=samples, p05=0.5, p50=1.0, p95=3.9, mean=2.0)
    return found._replace(expert_probs=np.array([0.25, 0.75]), volume_ml=volume)


def coloured(canvas: Canvas, expert: int) -> np.ndarray:
    """Pixels that have the colour of an expert."""
    return (canvas.pixels() == ImageColor.getrgb(expert_colour(expert))).all(axis=2)


def test_a_bar_is_as_long_as_the_expert_is_probable(lesion: Lesion):
    canvas = Canvas(4.2, 2.3, 100)
    draw_experts(canvas, BOX, lesion)
    for expert, probability in enumerate(lesion.expert_probs):
        length = np.flatnonzero(coloured(canvas, expert).any(axis=0))
        np.testing.assert_allclose((length[0], length[-1] + 1), 70 + np.array([0, 300 * probability / 1.18]), atol=1.6)
    first, second = (np.flatnonzero(coloured(canvas, expert).any(axis=1)) for expert in (0, 1))
    assert first[-1] < second[0]


def test_the_histogram_has_the_shares_of_each_expert(lesion: Lesion):
    canvas = Canvas(4.2, 2.3, 100)
    draw_volume(canvas, BOX, lesion)
    bin_px = 300 / 13.8  # the 12 bins, and the bar of the empty samples with what is around it
    top = 100 * 0.75 * 0.75  # the highest bar: three quarters of the samples of the second
    for expert, shares in enumerate(([25 * 0.25, 25 * 0.75], [75 * 0.25, 75 * 0.75])):
        pixels = coloured(canvas, expert).sum()
        height = sum(160 * share / (1.22 * top) for share in shares)
        assert pixels == pytest.approx(0.92 * bin_px * height, rel=0.15)


@pytest.mark.parametrize("most", [1.22e-9, 0.03, 1.0, 1.22, 9.999, 84.0, 122.0])
@pytest.mark.parametrize("steps", [1, 2, 7, 10])
def test_ticks_are_round_and_few(most: float, steps: int):
    ticks = _round_steps(most, steps)
    assert 1 <= len(ticks) - 1 <= steps or steps < 2
    assert ticks[-1] <= most * (1 + 1e-6)
    assert f"{np.diff(ticks)[0] if len(ticks) > 1 else 1:.0e}"[0] in "125"
