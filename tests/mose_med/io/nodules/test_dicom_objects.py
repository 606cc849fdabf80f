"""Nodules of DICOM SEG and RTSTRUCT."""

from __future__ import annotations

from pathlib import Path

import highdicom as hd
import numpy as np
import pydicom
import pytest
from pydicom.sr.codedict import codes
from pydicom.uid import generate_uid

from mose_med.errors import DataError
from mose_med.io import read_nodules, require_own_series
from mose_med.io.study import Source

DISC = np.zeros((10, 12), dtype=np.uint8)
DISC[4:7, 5:8] = 1


def square(x: float, y: float, z: float, half: float) -> np.ndarray:
    return np.array(
        [(x - half, y - half, z), (x + half, y - half, z), (x + half, y + half, z), (x - half, y + half, z)]
    )


def highdicom_seg(study: Path, masks: np.ndarray, kind: str, path: Path) -> Path:
    """SEG of masks (slice, row, column, segment) written by highdicom."""
    images = sorted((pydicom.dcmread(file) for file in study.iterdir()), key=lambda i: i.ImagePositionPatient[2])
    for image in images:
        image.PatientName, image.PatientSex, image.StudyDate, image.StudyTime = "a^b", "O", "20200101", "000000"
        image.SliceThickness = 2
    described = [
        hd.seg.SegmentDescription(
            n + 1, f"nodule {n + 1}", codes.SCT.Tissue, codes.SCT.Nodule, hd.seg.SegmentAlgorithmTypeValues.MANUAL
        )
        for n in range(masks.shape[3])
    ]
    made = ("maker", "model", "1", "1")
    seg = hd.seg.Segmentation(images, masks, kind, described, generate_uid(), 1, generate_uid(), 1, *made)
    seg.save_as(path)
    return path


@pytest.fixture
def study(tmp_path: Path, write_ct_series) -> Path:
    write_ct_series(tmp_path / "study", np.zeros((8, 10, 12), dtype=np.int16))
    return tmp_path / "study"


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("kind", ["BINARY", "FRACTIONAL", "LABELMAP"])
def test_components_of_the_segments_of_highdicom_are_nodules(tmp_path: Path, study: Path, kind: str):
    masks = np.zeros((8, 10, 12, 2), dtype=np.uint8)
    masks[1:4, 3:6, 4:9, 0] = 1
    masks[6, 8, 1:3, 0] = 1
    masks[5:7, 1:4, 9:12, 1] = 1
    nodules = read_nodules(highdicom_seg(study, masks, kind, tmp_path / "seg.dcm"))
    assert [nodule.nodule_id for nodule in nodules] == ["nodule 1-1", "nodule 1-2", "nodule 2"]
    places = [(-(-10 + 0.6 * i), -(-20 + 0.7 * j), -50 + 2.0 * k) for k, j, i in [(2, 4, 6), (6, 8, 1.5), (5.5, 2, 10)]]
    np.testing.assert_allclose([nodule.position_mm for nodule in nodules], places, atol=1e-5)


def test_frames_far_apart_are_not_one_component(tmp_path: Path, write_seg):
    path = write_seg(tmp_path / "seg.dcm", {(1, 0.0): DISC, (1, 1.0): DISC, (1, 40.0): DISC})
    nodules = read_nodules(path)
    assert [nodule.nodule_id for nodule in nodules] == ["1-1", "1-2"]
    assert sorted(round(nodule.position_mm[2], 3) for nodule in nodules) == [0.5, 40]


def test_two_frames_far_apart_are_told_apart_by_the_thickness_of_slices(tmp_path: Path, write_seg):
    path = write_seg(tmp_path / "seg.dcm", {(1, 0.0): DISC, (1, 40.0): DISC})
    dataset = pydicom.dcmread(path)
    dataset.SharedFunctionalGroupsSequence[0].PixelMeasuresSequence[0].SliceThickness = 2
    dataset.save_as(path)
    assert len(read_nodules(path)) == 2


def test_the_centroid_of_the_contours_of_a_region_is_a_nodule(tmp_path: Path, write_rtstruct):
    contours = [square(10, 20, 0, 1), square(10, 20, 2, 2), square(13, 20, 4, 1)]
    path = write_rtstruct(tmp_path / "structures", {"GTV": contours, "second": [square(0, 0, 8, 1)]})
    areas, x, z = np.array([4, 16, 4]), np.array([10, 10, 13]), np.array([0, 2, 4])
    first, second = read_nodules(path)
    assert first == ("GTV", pytest.approx((-(areas @ x) / 24, -20, (areas @ z) / 24)))
    assert second == ("second", pytest.approx((0, 0, 8)))


def test_a_contour_within_another_is_a_hole(tmp_path: Path, write_rtstruct):
    path = write_rtstruct(tmp_path / "s.dcm", {"ring": [square(0, 0, 5, 4), square(2, 0, 5, 1)]})
    assert read_nodules(path) == [("ring", pytest.approx((2 * 4 / 60, 0, 5)))]


@pytest.mark.parametrize("other", [(60, 20, 0), (10, 20, 40)], ids=["beside", "above"])
def test_a_region_around_two_nodules_is_taken_apart(tmp_path: Path, write_rtstruct, caplog, other):
    contours = [square(x, y, z + k, 2) for x, y, z in ((10, 20, 0), other) for k in (0, 2, 4)]
    nodules = read_nodules(write_rtstruct(tmp_path / "s.dcm", {"GTV": contours}))
    x, y, z = other
    assert nodules == [("GTV-1", pytest.approx((-10, -20, 2))), ("GTV-2", pytest.approx((-x, -y, z + 2)))]
    assert "the region GTV lies in none of its contours: its 2 parts are taken as nodules of their own" in caplog.text


def test_a_nodule_in_one_piece_stays_one_wherever_its_centroid_is(tmp_path: Path, write_rtstruct, caplog):
    bent = np.array([(0, 0, 5), (30, 0, 5), (30, 30, 5), (28, 30, 5), (28, 2, 5), (0, 2, 5)])
    gap = [square(10, 20, z, 2) for z in (0, 2, 8, 10)]
    path = write_rtstruct(tmp_path / "s.dcm", {"bent": [bent], "gap": [*gap[:2], square(10, 20, 6, 2), *gap[2:]]})
    assert [nodule.nodule_id for nodule in read_nodules(path)] == ["bent", "gap"]
    assert not caplog.records


def test_points_are_taken_as_they_are(tmp_path: Path, write_rtstruct):
    path = write_rtstruct(tmp_path / "s.dcm", {"seed": [np.array([[1, 2, 3]])]}, geometry="POINT")
    assert read_nodules(path) == [("seed", (-1, -2, 3))]


def test_the_outline_of_the_body_is_no_nodule(tmp_path: Path, write_rtstruct, caplog):
    regions = {"Body": [square(0, 0, 5, 200)], "GTV": [square(1, 2, 5, 4)]}
    path = write_rtstruct(tmp_path / "s.dcm", regions, kinds={"Body": "EXTERNAL"})
    assert read_nodules(path) == [("GTV", pytest.approx((-1, -2, 5)))]
    assert "a region of the type EXTERNAL, the outline of the body, is left out" in caplog.text


def test_objects_that_are_no_list_are_refused_by_what_they_are(tmp_path: Path, study: Path, write_rtstruct):
    with pytest.raises(
        DataError, match=r"must be a DICOM SEG or RTSTRUCT, got SOP class 1\.2\.840\.10008\.5\.1\.4\.1\.1\.2"
    ):
        read_nodules(next(study.iterdir()))
    with pytest.raises(DataError, match="shows nothing: give at least one segment or region"):
        read_nodules(write_rtstruct(tmp_path / "s.dcm", {}))


def test_a_contour_without_numbers_is_refused(tmp_path: Path, write_rtstruct):
    path = write_rtstruct(tmp_path / "s.dcm", {"GTV": [square(0, 0, 5, 4)]})
    dataset = pydicom.dcmread(path)
    dataset.ROIContourSequence[0].ContourSequence[0].ContourData = ["1", "2"]
    dataset.save_as(path)
    with pytest.raises(DataError, match="region 1 has a contour without usable ContourData"):
        read_nodules(path)


def test_an_object_of_another_series_is_refused(tmp_path: Path, write_rtstruct):
    path = write_rtstruct(tmp_path / "s.dcm", {"GTV": [square(0, 0, 5, 4)]}, series_uid="1.9", frame_of_reference="1.8")
    require_own_series(path, Source("dicom", series_uid="1.9"))
    require_own_series(path, Source("nifti"))
    with pytest.raises(
        DataError, match=r"nodule list .*s\.dcm was drawn on another series, in other coordinates: name"
    ):
        require_own_series(path, Source("dicom", series_uid="1.7", frame_of_reference="1.6"))


def test_an_object_of_another_series_in_the_same_coordinates_is_told(tmp_path: Path, write_rtstruct, caplog):
    path = write_rtstruct(tmp_path / "s.dcm", {"GTV": [square(0, 0, 5, 4)]}, series_uid="1.9", frame_of_reference="1.8")
    require_own_series(path, Source("dicom", series_uid="1.7", frame_of_reference="1.8"))
    assert "the nodule list was drawn on another series of the same frame of reference" in caplog.text
