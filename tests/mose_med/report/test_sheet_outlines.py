from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from contourpy import contour_generator
from hypothesis import given
from hypothesis import strategies as st
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from numpy.typing import NDArray
from scipy import ndimage

from mose_med.report.lesion_sheet.outlines import PIECES, Grid, border_pieces, coverage

GRIDS = [
    Grid(90, (7.3, 9.8), (1.37, 1.37)),
    Grid(90, (7.3, 9.8), (6.2, 4.4)),
    Grid(90, (20.2, 9.8), (0.6, 4.4)),
]


def ball(shape: tuple[int, int] = (17, 15)) -> NDArray[np.bool_]:
    y, x = np.indices(shape)
    return (x - 6.5) ** 2 + (y - 8) ** 2 < 5.2**2


def segments(pieces: NDArray[np.uint8]) -> set[frozenset[tuple[float, float]]]:
    """Ends (x, y) of all pieces of a slice, in voxels."""
    found = set()
    for y, x in np.argwhere(pieces):
        for bit, ends in enumerate(PIECES):
            if pieces[y, x] >> bit & 1:
                found.add(frozenset((x - 1 + along, y - 1 + down) for along, down in ends))
    return found


def contours(mask: NDArray[np.bool_]) -> list[NDArray[np.float64]]:
    """Points (x, y) of the outlines, by contourpy."""
    return [line - 1 for line in contour_generator(z=np.pad(mask, 1).astype(float)).lines(0.5)]


def test_outlines_run_half_way_between_the_voxels():
    masks = np.zeros((1, 3, 6, 5), bool)
    masks[0, 0, 2:4, 1:4] = True
    masks[0, 2] = True
    inner, none, outer = (segments(of_slice) for of_slice in border_pieces(masks))
    assert not none
    for found, least, most in ((inner, (0.5, 1.5), (3.5, 3.5)), (outer, (-0.5, -0.5), (4.5, 5.5))):
        ends = np.array([list(segment) for segment in found]).reshape(-1, 2)
        np.testing.assert_array_equal((ends.min(axis=0), ends.max(axis=0)), (least, most))


@given(st.integers(0, 1000), st.floats(0.02, 0.9), st.sampled_from([1, 3, 8, 9]))
def test_the_pieces_are_those_of_the_outlines_of_each_mask_alone(seed: int, share: float, number: int):
    masks = np.random.default_rng(seed).random((number, 2, 7, 5)) < share
    for found, of_slice in zip(border_pieces(masks), masks.swapaxes(0, 1), strict=True):
        alone = [line for mask in of_slice for line in contours(mask)]
        wanted = {frozenset(map(tuple, pair)) for line in alone for pair in pairwise(line)}
        assert segments(found) == wanted


@pytest.mark.parametrize("grid", GRIDS)
@pytest.mark.parametrize("width", [0.8, 1.44, 2.5, 3.6])
def test_lines_cover_what_matplotlib_paints(grid: Grid, width: float):
    (covered,) = coverage(border_pieces(ball()[None, None]), grid, width)
    figure = Figure(figsize=(0.9, 0.9), dpi=100, facecolor="black")
    axes = figure.add_axes((0, 0, 1, 1), xlim=(0, 90), ylim=(90, 0))
    axes.set_axis_off()
    for line in contours(ball()):
        axes.plot(*(line * grid.step + grid.first).T, color="white", linewidth=width * 0.72)
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    painted = np.asarray(canvas.buffer_rgba())[..., 0] / 255
    assert covered.sum() == pytest.approx(painted.sum(), rel=0.06)
    assert (ndimage.maximum_filter(painted, 3)[covered > 0.5] > 0.45).all()
    assert (ndimage.maximum_filter(covered, 3)[painted > 0.9] > 0.6).all()
    assert np.abs(covered - painted)[painted > 0].mean() < 0.11


def test_what_is_cut_off_beyond_the_picture_changes_nothing_in_it():
    masks = np.random.default_rng(0).random((2, 1, 17, 15)) < 0.5
    grid = Grid(40, (-5.2, -14.9), (4.3, 5.1))
    whole = coverage(border_pieces(masks), grid, 1.8)
    cut = coverage(border_pieces(masks[:, :, 1:14, :13]), grid.from_voxel(0, 1), 1.8)
    np.testing.assert_allclose(cut, whole, atol=1e-12)


def test_many_samples_with_one_border_draw_the_line_of_one():
    masks = np.repeat(ball()[None, None], 20, axis=0)
    np.testing.assert_array_equal(border_pieces(masks), border_pieces(masks[:1]))


def test_masks_without_a_voxel_cover_nothing():
    assert not coverage(border_pieces(np.zeros((3, 2, 4, 5), bool)), GRIDS[0], 1.8).any()
