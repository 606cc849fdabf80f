from __future__ import annotations

import numpy as np
import pytest

from data_prep.lidc.annotations import Contour
from data_prep.lidc.series import Grid, Series
from data_prep.lidc.series_window import SeriesWindow
from mose_med.geometry import index_to_mm

SHAPE, SPACING_MM = (60, 50), 0.5
CENTRE = (24.0, 30.0)
DIAMOND = [(20, 24), (26, 18), (34, 24), (36, 29), (26, 30)]
HU = np.random.default_rng(0).integers(-1000, 400, SHAPE[::-1]).astype(np.int16)


def outline(*corners: tuple[int, int], inclusion: bool = True) -> Contour:
    """Pixels between the corners, each touching the next."""
    points: list[tuple[int, int]] = []
    for (row, col), (to_row, to_col) in zip(corners, (*corners[1:], corners[0]), strict=True):
        steps = max(abs(to_row - row), abs(to_col - col))
        line = np.rint(np.linspace((row, col), (to_row, to_col), steps, endpoint=False)).astype(int)
        points += map(tuple, line.tolist())
    return Contour(0.0, inclusion, np.array(points))


def series(flip_i: bool = False, flip_j: bool = False) -> Series:
    grid = Grid(*SHAPE, SPACING_MM, SPACING_MM, x_mm=-7.0, y_mm=11.0, flip_i=flip_i, flip_j=flip_j)
    return Series("P", "1.2", False, grid, (), 0)


@pytest.mark.parametrize("flips", [(False, False), (True, False), (False, True), (True, True)])
def test_every_other_voxel_at_twice_the_spacing(flips: tuple[bool, bool]):
    own = SeriesWindow(series(*flips), CENTRE, (32, 32))
    twice = SeriesWindow(series(*flips), CENTRE, (16, 16), 2 * SPACING_MM)
    contours = [outline(*DIAMOND), outline((28, 22), (31, 22), (31, 25), (28, 25), inclusion=False)]
    np.testing.assert_array_equal(twice.image_hu(HU), own.image_hu(HU)[::2, ::2])
    np.testing.assert_array_equal(twice.mask(contours), own.mask(contours)[::2, ::2])
    np.testing.assert_allclose(twice.affine(5.0, 2.0)[:, 3], own.affine(5.0, 2.0)[:, 3])
    np.testing.assert_allclose(np.abs(np.diag(twice.affine(5.0, 2.0))), [1.0, 1.0, 2.0, 1.0])


def test_own_spacing_keeps_whole_hu_and_another_does_not():
    assert SeriesWindow(series(), CENTRE, (8, 8)).image_hu(HU).dtype == np.int16
    assert SeriesWindow(series(), CENTRE, (8, 8), SPACING_MM).image_hu(HU).dtype == np.int16
    assert SeriesWindow(series(), CENTRE, (8, 8), 0.7).image_hu(HU).dtype == np.float32


@pytest.mark.parametrize("spacing_mm", [0.11, 0.23, 0.35, 0.8])
def test_area_of_a_nodule_does_not_depend_on_the_spacing(spacing_mm: float):
    contours = [outline((10, 10), (14, 30), (36, 38), (50, 20), (32, 6))]
    areas = [
        SeriesWindow(series(), CENTRE, (300, 300), mm).mask(contours).sum() * mm**2 for mm in (SPACING_MM, spacing_mm)
    ]
    assert areas[1] == pytest.approx(areas[0], rel=0.01)


def test_voxels_lie_where_the_affine_says():
    """Of a slice that shows the place of its voxels, in mm to the left."""
    place = -index_to_mm(series().affine(0.0, 1.0), np.stack([*np.indices(HU.shape), np.zeros(HU.shape)], axis=-1))
    window = SeriesWindow(series(), CENTRE, (20, 20), 0.35)
    shown = window.image_hu((place[..., 0] * 1000).astype(np.int16))
    expected = [-index_to_mm(window.affine(0.0, 1.0), np.array([i, 3.0, 0.0]))[0] * 1000 for i in range(20)]
    np.testing.assert_allclose(shown[:, 3], expected, atol=1)


@pytest.mark.parametrize(("spacing_mm", "padded"), [(None, False), (0.9, True)])
def test_window_of_larger_voxels_may_reach_past_the_edge(spacing_mm: float | None, padded: bool):
    window = SeriesWindow(series(), CENTRE, (40, 40), spacing_mm)
    assert window.padded is padded
    assert (window.image_hu(HU) == -1024).any() == padded
