from __future__ import annotations

import itertools

import numpy as np
import pytest
import SimpleITK
from hypothesis import given
from hypothesis import strategies as st

from mose_med.geometry import index_to_mm, spacing_mm
from mose_med.resampling import box_on_slice, in_plane_grid, interpolated_back, resampled_window

AFFINE = np.array([[-0.7, 0.0, 0.0, 12.0], [0.0, -0.6, 0.0, 20.0], [0.0, 0.0, 2.5, -100.0], [0, 0, 0, 1]])


@pytest.fixture
def plane() -> np.ndarray:
    return np.random.default_rng(0).normal(size=(40, 30)).astype(np.float32) * 300


def test_without_a_wanted_spacing_the_grid_is_the_volumes_own(plane):
    grid = in_plane_grid(AFFINE, (40, 30, 9), None)
    np.testing.assert_array_equal(grid.affine, AFFINE)
    assert grid.shape == (40, 30, 9)
    window = resampled_window(plane, grid, (-2, 3), (10, 8), fill=-1024)
    np.testing.assert_array_equal(window[2:], plane[:8, 3:11])
    assert (window[:2] == -1024).all()


def test_the_own_spacing_but_for_the_last_digits_changes_nothing(plane):
    grid = in_plane_grid(np.diag([0.7, 0.7000001, 1.0, 1.0]), (40, 30, 9), 0.7)
    assert grid.step == (1.0, 1.0)


def test_the_grid_has_the_wanted_spacing_and_begins_where_the_volume_does():
    grid = in_plane_grid(AFFINE, (40, 30, 9), 0.5)
    np.testing.assert_allclose(spacing_mm(grid.affine), [0.5, 0.5, 2.5])
    np.testing.assert_allclose(index_to_mm(grid.affine, np.zeros(3)), AFFINE[:3, 3])


def test_a_plane_that_rises_evenly_is_the_same_at_its_place_in_mm():
    i, j = np.meshgrid(np.arange(40), np.arange(30), indexing="ij")
    grid = in_plane_grid(AFFINE, (40, 30, 1), 0.45)
    window = resampled_window(3 * i * 0.7 - 2 * j * 0.6, grid, (5, 7), (12, 9), fill=0)
    x, y = np.meshgrid(np.arange(5, 17), np.arange(7, 16), indexing="ij")
    np.testing.assert_allclose(window, 3 * x * 0.45 - 2 * y * 0.45, atol=1e-4)


@pytest.mark.parametrize("wanted_mm", [0.5, 0.9])
def test_values_are_those_of_simpleitk(plane, wanted_mm: float):
    image = SimpleITK.GetImageFromArray(plane.T)
    image.SetSpacing((0.7, 0.6))
    grid = in_plane_grid(AFFINE, (*plane.shape, 1), wanted_mm)
    size = tuple(n - 1 for n in grid.shape[:2])
    expected = SimpleITK.Resample(
        image, size, SimpleITK.Transform(), SimpleITK.sitkLinear, (0, 0), (wanted_mm, wanted_mm)
    )
    window = resampled_window(plane, grid, (0, 0), size, fill=0)
    np.testing.assert_allclose(window, SimpleITK.GetArrayFromImage(expected).T, atol=1e-2)


def test_values_fall_to_air_beyond_the_edge():
    grid = in_plane_grid(np.eye(4), (3, 3, 1), 0.5)
    window = resampled_window(np.zeros((3, 3)), grid, (3, 0), (4, 1), fill=-1000)
    np.testing.assert_allclose(window[:, 0], [0, 0, -500, -1000])


def test_masks_of_several_raters_are_cut_alike():
    masks = np.zeros((20, 20, 2), dtype=bool)
    masks[5:12, 6:14, 0] = masks[7:10, 8:12, 1] = True
    window = resampled_window(masks, in_plane_grid(np.eye(4), (20, 20, 1), 0.5), (0, 0), (39, 39), fill=0)
    assert window.shape == (39, 39, 2)
    areas = (window >= 0.5).sum(axis=(0, 1)) * 0.25
    np.testing.assert_allclose(areas, [56, 12], rtol=0.25)


@given(
    st.floats(0.3, 2.0),
    st.floats(0.3, 2.0),
    st.lists(st.integers(0, 60), min_size=4, max_size=4, unique=True).map(sorted),
)
def test_boxes_apart_on_the_grid_are_apart_on_the_slice_and_side_by_side_they_meet(own: float, wanted: float, edges):
    a, b, c, d = edges
    grid = in_plane_grid(np.diag([own, own, 1.0, 1.0]), (50, 50, 1), wanted)
    boxes = [box_on_slice((low, 0), (high, 1), grid, (50, 50)) for low, high in ((a, b), (b, c), (c, d))]
    for (_, before), (after, _) in itertools.pairwise(boxes):
        assert before[0] == after[0]
    whole = box_on_slice((0, 0), grid.shape[:2], grid, (50, 50))
    assert whole == ((0, 0), (50, 50))


def test_maps_that_rise_evenly_come_back_as_they_are():
    grid = in_plane_grid(AFFINE, (40, 30, 1), 0.5)
    i, j = np.meshgrid(np.arange(4, 30), np.arange(3, 20), indexing="ij")
    low, high = box_on_slice((4, 3), (30, 20), grid, (40, 30))
    back = interpolated_back((0.5 * i + 0.25 * j)[None].astype(np.float32), grid, (4, 3), low, high)
    x, y = np.meshgrid(np.arange(low[0], high[0]) * 0.7 / 0.5, np.arange(low[1], high[1]) * 0.6 / 0.5, indexing="ij")
    np.testing.assert_allclose(back[0], 0.5 * x.clip(4, 29) + 0.25 * y.clip(3, 19), atol=1e-4)
