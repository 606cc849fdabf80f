from __future__ import annotations

import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pydicom
import pytest

from mose_med.errors import DataError, GeometryError, MissingDependencyError
from mose_med.io import read_ct
from mose_med.io.dicom.source import read_source_series
from tests.fixtures.dicom_case import DicomCase


@pytest.fixture
def files(tmp_path: Path, write_ct_series: Callable[..., list[Path]], ball_hu: np.ndarray) -> list[Path]:
    """Files of a small series, in the order of slices."""
    return write_ct_series(tmp_path / "study", ball_hu[:4])


def test_slices_come_in_the_order_of_k(files: list[Path]):
    source = read_source_series(files[0].parent)
    assert [dataset.SOPInstanceUID for dataset in source.slices] == [pydicom.dcmread(f).SOPInstanceUID for f in files]
    image = read_ct(files[0].parent)
    source.require_grid(tuple(image.shape[1:]), np.asarray(image.affine))


def test_a_zip_gives_what_its_folder_gives(files: list[Path], tmp_path: Path):
    with zipfile.ZipFile(tmp_path / "study.zip", "w") as archive:
        for path in files:
            archive.write(path, f"export/{path.name}")
    packed, plain = read_source_series(tmp_path / "study.zip"), read_source_series(files[0].parent)
    assert [d.SOPInstanceUID for d in packed.slices] == [d.SOPInstanceUID for d in plain.slices]


@pytest.mark.parametrize("keyword", ["StudyInstanceUID", "SeriesInstanceUID", "FrameOfReferenceUID", "SOPInstanceUID"])
@pytest.mark.parametrize("value", ["", None])
def test_a_slice_without_a_uid_is_refused_by_name(files: list[Path], edit_dicom, keyword, value):
    for path in files:
        edit_dicom(path, **{keyword: value})
    with pytest.raises(DataError, match=rf"image 00\d has no {keyword}, which a DICOM object must name: leave out"):
        read_source_series(files[0].parent)


def test_slices_of_one_uid_are_refused_by_name(files: list[Path], edit_dicom):
    edit_dicom(files[1], SOPInstanceUID=pydicom.dcmread(files[0]).SOPInstanceUID)
    with pytest.raises(DataError, match="image 004 and image 003 have the same SOPInstanceUID: leave out --dicom-seg"):
        read_source_series(files[0].parent)


def test_slices_that_had_to_be_resampled_are_refused(files: list[Path], edit_dicom):
    edit_dicom(files[1], ImagePositionPatient=[-10, -20, -47.5])
    with pytest.raises(GeometryError, match=r"but its slices are not equally spaced: up to .*: leave out --dicom-seg"):
        read_source_series(files[0].parent)


def test_what_no_object_may_have_is_blanked(files: list[Path], edit_dicom):
    for path in files:
        edit_dicom(path, PatientName=None, PatientSex="unknown", StudyDate="yesterday")
    header = read_source_series(files[0].parent).header
    assert (header.PatientName, header.PatientSex, header.StudyDate, header.StudyTime) == ("", "", "", "")


def test_a_missing_slice_thickness_is_the_spacing(files: list[Path]):
    assert "SliceThickness" not in pydicom.dcmread(files[0])
    (dataset, *_) = read_source_series(files[0].parent).slices
    assert (dataset.SliceThickness, dataset.SpacingBetweenSlices) == (2, 2)


@pytest.mark.parametrize(
    ("tags", "wanted"),
    [
        ({"ContentDate": "20240203", "ContentTime": "040506"}, ("20240203", "040506")),
        ({"StudyDate": "20240203"}, ("20240203", "000000")),
        ({"StudyDate": "2024", "AcquisitionDate": "20230101", "AcquisitionTime": "1"}, ("20230101", "000000")),
        ({}, ("19000101", "000000")),
    ],
)
def test_objects_have_the_date_of_the_source(
    tags, wanted, ball_study: Path, edit_dicom, infer_dicom_case, write_dicom_objects
):
    for path in ball_study.iterdir():
        edit_dicom(path, **tags)
    case: DicomCase = write_dicom_objects(ball_study, infer_dicom_case(ball_study, (14, 11, 6)))
    report = pydicom.dcmread(case.folder / "report_sr.dcm")
    assert (report.ContentDate, report.ContentTime) == wanted


def test_without_the_extra_the_remedy_is_named(files: list[Path], monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("mose_med.io.dicom.source.find_spec", lambda name: None)
    with pytest.raises(
        MissingDependencyError, match=r"highdicom is not installed: run `pip install 'mose-med\[dicom\]'`"
    ):
        read_source_series(files[0].parent)
