from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from monai.data import MetaTensor

from mose_med.inferers.windows.cutting import OrientedVolume, oriented_volume
from mose_med.inferers.windows.sliding import sliding_windows, window_starts
from mose_med.resampling import box_on_slice


def volume_of(chest: MetaTensor, spacing_mm: float | None = None) -> OrientedVolume:
    return oriented_volume(chest, "LPS", spacing_mm)


@given(st.integers(-5, 40), st.integers(1, 200), st.integers(1, 64), st.floats(0, 0.95))
def test_windows_cover_the_extent_and_overlap_as_asked(low: int, extent: int, size: int, overlap: float):
    starts = np.array(window_starts(low, low + extent, size, overlap))
    covered = np.unique(starts[:, None] + np.arange(size))
    assert set(range(low, low + extent)) <= set(covered.tolist())
    if len(starts) > 1:
        assert (starts[0], starts[-1]) == (low, low + extent - size)
        assert (size - np.diff(starts)).min() >= np.floor(overlap * size)


def test_without_a_region_every_voxel_is_in_a_window(chest):
    seen = np.zeros(chest.shape[1:], dtype=int)
    for window in sliding_windows(volume_of(chest), None, (32, 48), 0.25):
        i, j = window.start
        seen[i : i + 32, j : j + 48, window.slice_index] += 1
    assert seen.min() >= 1


@pytest.mark.parametrize("spacing_mm", [None, 3.0, 5.5])
def test_windows_cover_the_region_and_none_is_without_it(chest, spacing_mm: float | None):
    region = chest.numpy()[0] == -850
    volume = volume_of(chest, spacing_mm)
    seen = np.zeros(region.shape, dtype=bool)
    for window in sliding_windows(volume, region, (16, 16), 0.25):
        stop = (window.start[0] + 16, window.start[1] + 16)
        (i, j), (u, v) = box_on_slice(window.start, stop, volume.grid, region.shape)
        assert region[i:u, j:v, window.slice_index].any()
        seen[i:u, j:v, window.slice_index] = True
    assert seen[region].all()


def test_slices_without_the_region_are_left_out(chest):
    region = np.zeros(chest.shape[1:], dtype=bool)
    region[20:24, 30:33, 5] = region[50, 40, 9] = True
    windows = sliding_windows(volume_of(chest), region, (16, 16), 0.25)
    assert {window.slice_index for window in windows} == {5, 9}
    assert windows == sorted(windows)
