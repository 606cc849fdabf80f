from __future__ import annotations

from pathlib import Path

import numpy as np
import pydicom
import pytest
from pydicom.uid import ExplicitVRLittleEndian, RLELossless

from mose_med.errors import DataError, GeometryError
from mose_med.io import read_ct
from mose_med.io.dicom.objects.seg.reading import read_segmentation

SHAPE = (5, 6, 4)
#: Columns of 0.6 mm run along i to the left, rows of 0.7 mm along j to posterior, slices every 2 mm from z = 2 mm.
AFFINE = np.array([[-0.6, 0, 0, 10], [0, -0.7, 0, 20], [0, 0, 2, 2], [0, 0, 0, 1]], dtype=float)


def plane(row: int, col: int) -> np.ndarray:
    frame = np.zeros((6, 5), dtype=np.uint8)
    frame[row, col] = 1
    return frame


def test_frames_are_laid_at_their_place(write_seg, tmp_path: Path):
    path = write_seg(tmp_path / "s.dcm", {(2, 8.0): plane(1, 4), (1, 4.0): plane(5, 0), (1, 6.0): plane(0, 0) * 0})
    labels = read_segmentation(path, SHAPE, AFFINE)
    expected = np.zeros(SHAPE, dtype=np.uint8)
    expected[4, 1, 3], expected[0, 5, 1] = 2, 1
    np.testing.assert_array_equal(labels, expected)


def test_frames_that_run_the_other_way_are_turned(write_seg, tmp_path: Path):
    path = write_seg(
        tmp_path / "s.dcm",
        {(1, 2.0): plane(1, 0)},
        orientation=(-1, 0, 0, 0, 1, 0),
        origin=(-10 + 4 * 0.6, -20),
    )
    assert np.argwhere(read_segmentation(path, SHAPE, AFFINE)).tolist() == [[4, 1, 0]]


@pytest.mark.parametrize(
    ("geometry", "z_mm", "reason"),
    [
        ({}, 3.0, "a pixel is 0.50 voxels off"),
        ({}, 10.0, "it extends past the edge"),
        (
            {"spacing": (1.4, 1.2)},
            2.0,
            r"they are 1.2 x 1.4 mm, the image's voxels 0.6 x 0.7 x 2 mm; .* by 0.0 degrees",
        ),
        ({"origin": (-10.3, -20)}, 2.0, "a pixel is 0.50 voxels off"),
    ],
)
def test_another_grid_is_named(geometry: dict, z_mm: float, reason: str, write_seg, tmp_path: Path):
    path = write_seg(tmp_path / "s.dcm", {(1, z_mm): plane(1, 2)}, **geometry)
    with pytest.raises(GeometryError, match=f"s.dcm must .* its image: {reason}"):
        read_segmentation(path, SHAPE, AFFINE)


def test_segments_that_overlap_are_refused(write_seg, tmp_path: Path):
    path = write_seg(tmp_path / "s.dcm", {(1, 2.0): plane(1, 2), (2, 2.0): plane(1, 2)})
    with pytest.raises(DataError, match=r"s.dcm: segments 1 and 2 overlap: a voxel must have one class"):
        read_segmentation(path, SHAPE, AFFINE)


@pytest.mark.parametrize(
    ("tags", "reason"),
    [
        ({"SegmentationType": "OTHER"}, "must be of SegmentationType BINARY or FRACTIONAL, got OTHER"),
        ({"SegmentationType": "FRACTIONAL"}, "has no usable MaximumFractionalValue, half of which is"),
        ({"SOPClassUID": "1.2"}, "must be a DICOM segmentation, got SOP class 1.2"),
        ({"PerFrameFunctionalGroupsSequence": []}, "must give the position of each of its 1 frames"),
        ({"SharedFunctionalGroupsSequence": []}, "has a frame without PlaneOrientationSequence"),
        ({"PixelData": b""}, r"cannot be decoded"),
    ],
)
def test_other_dicom_files_are_named(tags: dict, reason: str, write_seg, tmp_path: Path):
    path = write_seg(tmp_path / "s.dcm", {(1, 2.0): plane(1, 2)}, **tags)
    with pytest.raises(DataError, match=rf"s\.dcm.* ?{reason}"):
        read_segmentation(path, SHAPE, AFFINE)


@pytest.fixture
def write_with_highdicom(write_ct_series, tmp_path: Path):
    """Function that has highdicom write a SEG over a series of 4 slices of 6 x 5 pixels: its path and the image's."""
    hd = pytest.importorskip("highdicom", reason="needs the extra dicom")

    def write(pixels: np.ndarray, kind: str, **options: object) -> tuple[Path, Path]:
        tags = dict.fromkeys(
            ("StudyDate", "StudyTime", "PatientBirthDate", "PatientSex", "AccessionNumber", "SliceThickness")
        )
        slices = [pydicom.dcmread(p) for p in write_ct_series(tmp_path / "ct", np.zeros((4, 6, 5)), **tags)]
        coded = hd.sr.CodedConcept("91723000", "SCT", "Anatomical Structure")
        segments = [
            hd.seg.SegmentDescription(
                number, f"segment {number}", coded, coded, hd.seg.SegmentAlgorithmTypeValues.MANUAL
            )
            for number in (1, 2)
        ]
        uids = {"series_instance_uid": "1.2.3", "series_number": 1, "sop_instance_uid": "1.2.4", "instance_number": 1}
        by = {
            "manufacturer": "m",
            "manufacturer_model_name": "m",
            "software_versions": "1",
            "device_serial_number": "1",
        }
        seg = hd.seg.Segmentation(slices, pixels, kind, segments, **uids, **by, **options)
        seg.save_as(tmp_path / "s.dcm")
        return tmp_path / "s.dcm", tmp_path / "ct"

    return write


@pytest.mark.parametrize(
    ("kind", "syntax"),
    [("BINARY", ExplicitVRLittleEndian), ("LABELMAP", ExplicitVRLittleEndian), ("LABELMAP", RLELossless)],
)
def test_highdicoms_segments_are_read(write_with_highdicom, kind: str, syntax: str):
    labels = np.zeros((4, 6, 5), dtype=np.uint8)
    labels[0, 1, 4], labels[2, 2:4, 1], labels[2, 5, 0] = 1, 2, 1
    path, ct = write_with_highdicom(labels, kind, transfer_syntax_uid=syntax)
    image = read_ct(ct)
    found = read_segmentation(path, tuple(image.shape[1:]), image.affine.numpy())
    np.testing.assert_array_equal(found, labels.transpose(2, 1, 0))


@pytest.mark.parametrize("fractional_type", ["PROBABILITY", "OCCUPANCY"])
def test_fractions_count_from_one_half(write_with_highdicom, fractional_type: str):
    fractions = np.zeros((4, 6, 5, 2))
    fractions[1, 2, :4, 0] = 0.1, 0.49, 0.5, 1.0
    fractions[1, 2, :4, 1] = 0.9, 0.51, 0.4, 0.0
    path, ct = write_with_highdicom(fractions, "FRACTIONAL", fractional_type=fractional_type, max_fractional_value=100)
    image = read_ct(ct)
    found = read_segmentation(path, tuple(image.shape[1:]), image.affine.numpy())
    assert found[:4, 2, 1].tolist() == [2, 2, 1, 1]
    assert np.count_nonzero(found) == 4


def test_segment_numbers_beyond_the_classes_are_refused(write_seg, tmp_path: Path):
    path = write_seg(tmp_path / "s.dcm", {(300, 2.0): plane(1, 2)})
    with pytest.raises(DataError, match=r"s.dcm: segment numbers must be <= 255, got 300"):
        read_segmentation(path, SHAPE, AFFINE)


def test_files_that_are_no_dicom_are_named(tmp_path: Path):
    with pytest.raises(DataError, match=r"s.dcm does not exist"):
        read_segmentation(tmp_path / "s.dcm", SHAPE, AFFINE)
    (tmp_path / "s.dcm").write_bytes(b"no")
    with pytest.raises(DataError, match=r"s.dcm is not a DICOM file"):
        read_segmentation(tmp_path / "s.dcm", SHAPE, AFFINE)
