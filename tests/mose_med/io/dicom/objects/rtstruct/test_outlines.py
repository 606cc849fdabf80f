from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from mose_med.io.dicom.objects.rtstruct.outlines import outlines
from mose_med.io.dicom.objects.rtstruct.polygons import pixels_inside


def area(outline: np.ndarray) -> float:
    following = np.roll(outline, -1, axis=0)
    return abs(float((outline[:, 0] * following[:, 1] - outline[:, 1] * following[:, 0]).sum())) / 2


@given(arrays(bool, st.tuples(st.integers(1, 9), st.integers(1, 9))))
def test_outlines_enclose_the_pixels_of_any_mask_and_their_area(mask: np.ndarray):
    lines = outlines(mask)
    np.testing.assert_array_equal(pixels_inside(lines, mask.shape), mask)
    assert sum(map(area, lines)) == pytest.approx(mask.sum())


def test_a_ring_is_one_line_and_what_lies_in_it_another():
    mask = np.ones((9, 9), dtype=bool)
    mask[2:7, 2:7] = False
    mask[4, 4] = True
    assert sorted(map(area, outlines(mask))) == [1, 56]


def test_pixels_that_touch_by_a_corner_have_lines_of_their_own():
    assert [len(line) for line in outlines(np.eye(3, dtype=bool))] == [4, 4, 4]
