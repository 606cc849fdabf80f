"""Structure sets on the grid of an image, against shapes whose voxels are known."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pydicom
import pytest

from mose_med.errors import DataError, GeometryError
from mose_med.io.dicom.objects.rtstruct.masks import read_structures
from mose_med.io.dicom.objects.rtstruct.polygons import pixels_inside

SHAPE = (24, 20, 12)
SPACING, ORIGIN = np.array([0.8, 0.7, 2.0]), np.array([-10.0, -20.0, 30.0])
#: Of indices (i, j, k) in LPS order, RAS mm.
AFFINE = np.diag([-1.0, -1.0, 1.0, 1.0]) @ np.array(
    [[0.8, 0, 0, -10], [0, 0.7, 0, -20], [0, 0, 2.0, 30], [0, 0, 0, 1.0]]
)


def contour(*indices: tuple[float, float], k: float) -> np.ndarray:
    """Points in LPS mm of indices (i, j) on the slice k."""
    return np.array([(*index, k) for index in indices]) * SPACING + ORIGIN


def rectangle(left: float, right: float, top: float, bottom: float, k: float) -> np.ndarray:
    return contour((left, top), (right, top), (right, bottom), (left, bottom), k=k)


def box(i: slice, j: slice, k: slice) -> np.ndarray:
    mask = np.zeros(SHAPE, dtype=np.uint8)
    mask[i, j, k] = 1
    return mask


def test_a_box_between_voxels_has_the_voxels_whose_centres_are_inside(tmp_path: Path, write_rtstruct):
    contours = [rectangle(2.5, 9.49, 3.51, 7.5, k) for k in range(4, 7)]
    mask = read_structures(write_rtstruct(tmp_path / "s.dcm", {"n": contours}), SHAPE, AFFINE)
    np.testing.assert_array_equal(mask, box(slice(3, 10), slice(4, 8), slice(4, 7)))


def test_a_sphere_has_the_voxels_within_its_radius(tmp_path: Path, write_rtstruct):
    centre, radius = np.array([11.3, 9.4, 5.2]) * SPACING + ORIGIN, 5.37
    angles = np.linspace(0, 2 * np.pi, 2000, endpoint=False)
    contours = []
    for z in 30 + 2.0 * np.arange(12):
        if abs(z - centre[2]) < radius:
            around = np.sqrt(radius**2 - (z - centre[2]) ** 2) * np.stack([np.cos(angles), np.sin(angles)], axis=1)
            contours.append(np.column_stack([around + centre[:2], np.full(len(angles), z)]))
    mask = read_structures(write_rtstruct(tmp_path / "s.dcm", {"n": contours}), SHAPE, AFFINE)
    places = np.moveaxis(np.indices(SHAPE), 0, -1) * SPACING + ORIGIN
    np.testing.assert_array_equal(mask, np.linalg.norm(places - centre, axis=-1) < radius)
    assert mask.sum() > 100


def test_a_centre_on_the_line_is_of_one_of_two_neighbours(tmp_path: Path, write_rtstruct):
    left, right = rectangle(2, 6, 3, 8, 5), rectangle(6, 9, 3, 8, 5)
    path = write_rtstruct(tmp_path / "s.dcm", {"left": [left], "right": [right]})
    mask = read_structures(path, SHAPE, AFFINE, num_classes=3)
    np.testing.assert_array_equal(
        mask, box(slice(2, 6), slice(3, 8), slice(5, 6)) + 2 * box(slice(6, 9), slice(3, 8), slice(5, 6))
    )


def test_a_contour_within_another_is_a_hole(tmp_path: Path, write_rtstruct):
    contours = [rectangle(2.5, 12.5, 2.5, 12.5, 5), rectangle(5.5, 8.5, 5.5, 8.5, 5)]
    mask = read_structures(write_rtstruct(tmp_path / "s.dcm", {"n": contours}), SHAPE, AFFINE)
    expected = box(slice(3, 13), slice(3, 13), slice(5, 6)) - box(slice(6, 9), slice(6, 9), slice(5, 6))
    np.testing.assert_array_equal(mask, expected)


@pytest.mark.parametrize(("off", "k"), [(0.4, 5), (-0.4, 5), (0.6, 6)])
def test_a_contour_is_of_the_nearest_slice_which_is_told(tmp_path: Path, write_rtstruct, off: float, k: int, caplog):
    path = write_rtstruct(tmp_path / "s.dcm", {"n": [rectangle(2.5, 4.5, 2.5, 4.5, 5 + off)]})
    assert np.unique(np.nonzero(read_structures(path, SHAPE, AFFINE))[2]).tolist() == [k]
    assert "contours of a region are up to 0.40 slices from the slices they are assigned to" in caplog.text


def test_contours_of_thicker_slices_leave_gaps_which_is_told(tmp_path: Path, write_rtstruct, caplog):
    path = write_rtstruct(tmp_path / "s.dcm", {"n": [rectangle(2.5, 4.5, 2.5, 4.5, k) for k in (2, 5, 8)]})
    assert np.unique(np.nonzero(read_structures(path, SHAPE, AFFINE))[2]).tolist() == [2, 5, 8]
    assert "contours of a region are 3 slices apart: the slices in between have none" in caplog.text


def test_of_two_classes_all_regions_but_the_body_are_one(tmp_path: Path, write_rtstruct):
    regions = {"a": [rectangle(2.5, 4.5, 2.5, 4.5, 5)], "b": [rectangle(8.5, 9.5, 2.5, 4.5, 5)]}
    regions["body"] = [rectangle(0.5, 20.5, 0.5, 18.5, 5)]
    path = write_rtstruct(tmp_path / "s.dcm", regions, kinds={"body": "EXTERNAL"})
    mask = read_structures(path, SHAPE, AFFINE)
    assert (mask.sum(), mask.max()) == (6, 1)
    np.testing.assert_array_equal(
        read_structures(path, SHAPE, AFFINE, name="B"), box(slice(9, 10), slice(3, 5), slice(5, 6))
    )


@pytest.mark.parametrize(
    ("points", "message"),
    [
        (
            rectangle(2, 4, 2, 4, 5) + np.outer([0, 0, 2, 2], [0, 0, 1]),
            "on the slices of its image: .* crosses 1.0",
        ),
        (rectangle(2, 4, 2, 4, 11.6), "must lie within its image: a contour extends past the edge"),
        (rectangle(2, 23.6, 2, 4, 5), "must lie within its image: a contour extends past the edge"),
    ],
)
def test_contours_that_are_not_of_the_image_are_refused(tmp_path: Path, write_rtstruct, points, message: str):
    with pytest.raises(GeometryError, match=message):
        read_structures(write_rtstruct(tmp_path / "s.dcm", {"n": [points]}), SHAPE, AFFINE)


def test_regions_of_other_classes_than_there_are_are_refused(tmp_path: Path, write_rtstruct):
    regions = {name: [rectangle(2, 4, 2, 4, 5)] for name in "abc"}
    path = write_rtstruct(tmp_path / "s.dcm", regions)
    with pytest.raises(DataError, match="region 2 overlaps another: a voxel must have one class"):
        read_structures(path, SHAPE, AFFINE, num_classes=4)
    with pytest.raises(DataError, match="must have one region named d, got 0: it has a, b, c"):
        read_structures(path, SHAPE, AFFINE, name="d")
    far = write_rtstruct(tmp_path / "far.dcm", {name: [rectangle(n, n + 1, 2, 4, 5)] for n, name in enumerate("abc")})
    with pytest.raises(DataError, match="ROINumber is the class of a region and must be from 1 to 2, got 3"):
        read_structures(far, SHAPE, AFFINE, num_classes=3)


def test_a_file_that_is_no_structure_set_is_refused(tmp_path: Path, write_rtstruct):
    path = write_rtstruct(tmp_path / "s.dcm", {"n": [rectangle(2, 4, 2, 4, 5)]})
    dataset = pydicom.dcmread(path)
    dataset.SOPClassUID = "1.2.3"
    dataset.save_as(path)
    with pytest.raises(DataError, match=r"must be an RT structure set, got SOP class 1\.2\.3"):
        read_structures(path, SHAPE, AFFINE)


def test_slanting_lines_have_the_pixels_of_their_halves():
    triangle = np.array([(0.0, 0.0), (0.0, 6.0), (6.0, 0.0)])
    rows, columns = np.indices((7, 7))
    np.testing.assert_array_equal(pixels_inside([triangle], (7, 7)), rows + columns < 6)
