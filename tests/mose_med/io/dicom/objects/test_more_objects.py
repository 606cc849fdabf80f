"""Parametric maps, labelmaps, structure sets and pictures: each read by a second reader."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path

import highdicom as hd
import nibabel as nib
import numpy as np
import pydicom
import pytest
import SimpleITK

from mose_med.case_contents.dicom_kinds import DICOM_KINDS
from mose_med.io.dicom.objects.rtstruct.masks import read_structures
from mose_med.io.dicom.objects.seg.reading import read_segmentation
from mose_med.io.dicom.source import read_source_series
from tests.fixtures.dicom_case import DicomCase

MORE = ["probability_map.dcm", "entropy_map.dcm", "rtstruct.dcm", "lesion-1_picture.dcm"]
PICTURE = np.arange(5 * 7 * 3, dtype=np.uint8).reshape(5, 7, 3)
AXIAL, PRONE = (1, 0, 0, 0, 1, 0), (-1, 0, 0, 0, -1, 0)
OBLIQUE, FLIPPED = (0.98, 0.198997, 0, -0.198997, 0.98, 0), (1, 0, 0, 0, -1, 0)


@pytest.fixture
def write_all(infer_dicom_case, write_dicom_objects) -> Callable[..., DicomCase]:
    """Function that infers a study at voxels and writes all kinds of objects."""

    def write(study: Path, *voxels: tuple[int, int, int], name: str = "case", **options) -> DicomCase:
        distribution = infer_dicom_case(study, *voxels)
        options = {"kinds": DICOM_KINDS, "pictures": lambda: {1: PICTURE}} | options
        return write_dicom_objects(study, distribution, name=name, **options)

    return write


@pytest.fixture
def case(ball_study: Path, write_all) -> DicomCase:
    """The ball, lesion 1, and a place where there is nothing, lesion 2."""
    return write_all(ball_study, (14, 11, 6), (4, 4, 2))


def nifti(case: DicomCase, name: str) -> np.ndarray:
    return np.asarray(nib.load(case.folder / f"{name}.nii.gz").dataobj)


def test_all_kinds_are_written(case: DicomCase):
    objects = ["seg.dcm", "probability_seg.dcm", "report_sr.dcm", "labelmap_seg.dcm", *MORE]
    assert case.written.files == objects
    assert sorted(path.name for path in case.folder.glob("*.dcm")) == sorted(objects)


def test_dciodvfy_finds_no_error_in_the_objects_that_it_knows(case: DicomCase, system_tool: Callable[[str], str]):
    for name in MORE:
        result = subprocess.run(
            [system_tool("dciodvfy"), "-new", case.folder / name], capture_output=True, text=True, check=False
        )
        assert result.stderr, f"no word on {name}"
        assert [line for line in result.stderr.splitlines() if line.startswith("Error")] == []


@pytest.mark.parametrize("orientation", [AXIAL, PRONE, OBLIQUE, FLIPPED])
def test_other_readers_find_the_same_voxels(orientation, tmp_path: Path, write_ct_series, ball_hu, write_all):
    write_ct_series(tmp_path / "study", np.where(ball_hu == 0, -299, ball_hu), orientation=orientation)
    case = write_all(tmp_path / "study", (14, 11, 6))
    probability, affine = nifti(case, "probability"), case.distribution.affine
    for name, mask in (("Consensus", probability > 0.5), ("Probability 5 %", probability >= 0.05)):
        found = read_structures(case.folder / "rtstruct.dcm", mask.shape, affine, name=name)
        np.testing.assert_array_equal(found, mask)
    labels = read_segmentation(case.folder / "labelmap_seg.dcm", probability.shape, affine)
    np.testing.assert_array_equal(labels, nifti(case, "consensus"))


@pytest.mark.parametrize(("name", "of"), [("probability_map.dcm", "probability"), ("entropy_map.dcm", "entropy")])
def test_parametric_maps_hold_the_values_of_the_nifti(case: DicomCase, name: str, of: str):
    dataset = pydicom.dcmread(case.folder / name)
    frames = np.frombuffer(dataset.FloatPixelData, "<f4").reshape(-1, dataset.Rows, dataset.Columns)
    wanted = nifti(case, of)
    to_voxel = np.linalg.inv(case.distribution.affine) @ np.diag([-1, -1, 1, 1])
    places = [
        to_voxel @ [*groups.PlanePositionSequence[0].ImagePositionPatient, 1]
        for groups in dataset.PerFrameFunctionalGroupsSequence
    ]
    slices = [round(k) for _, _, k, _ in places]
    filled = np.flatnonzero(wanted.any(axis=(0, 1)))
    assert sorted(slices) == list(range(filled[0], filled[-1] + 1))
    np.testing.assert_allclose(frames.transpose(2, 1, 0), wanted[:, :, slices], atol=1e-7)


def test_parametric_maps_say_what_they_measure(case: DicomCase):
    image = hd.imread(case.folder / "entropy_map.dcm")
    (mapping,) = image.SharedFunctionalGroupsSequence[0].RealWorldValueMappingSequence
    assert mapping.QuantityDefinitionSequence[0].ConceptCodeSequence[0].CodeMeaning == "Predictive entropy in nats"
    assert (mapping.RealWorldValueSlope, mapping.RealWorldValueIntercept) == (1, 0)
    assert image.ContentQualification == "RESEARCH"


def test_lesions_of_the_labelmap_have_their_numbers_and_names(tmp_path: Path, write_ct_series, ball_hu, write_all):
    write_ct_series(tmp_path / "study", np.concatenate([ball_hu, ball_hu]))
    case = write_all(tmp_path / "study", (14, 11, 6), (14, 11, 19))
    path = case.folder / "labelmap_seg.dcm"
    labels = read_segmentation(path, case.distribution.shape, case.distribution.affine)
    assert [np.unique(np.nonzero(labels == number)[2]).tolist() for number in (1, 2)] == [[5, 6, 7], [18, 19, 20]]
    segmentation = hd.seg.segread(path)
    names = [item.SegmentLabel for item in segmentation.SegmentSequence if item.SegmentNumber]
    assert (segmentation.SegmentationType, names) == ("LABELMAP", ["Lesion 1", "Lesion 2"])
    np.testing.assert_array_equal(np.unique(pydicom.dcmread(path).pixel_array), [0, 1, 2])


def test_a_lesion_that_overlaps_an_earlier_one_is_not_in_the_labelmap(ball_study: Path, write_all, caplog):
    case = write_all(ball_study, (14, 11, 6), (15, 11, 6))
    assert case.written.overlapping_lesions == ["Lesion 2"]
    assert "labelmap_seg.dcm has no Lesion 2, which overlap earlier ones" in caplog.text


def test_the_structure_set_names_the_slices_that_it_lies_on(case: DicomCase):
    dataset = pydicom.dcmread(case.folder / "rtstruct.dcm")
    slices = read_source_series(case.study).slices
    (frame,) = dataset.ReferencedFrameOfReferenceSequence
    (series,) = frame.RTReferencedStudySequence[0].RTReferencedSeriesSequence
    assert series.SeriesInstanceUID == slices[0].SeriesInstanceUID
    assert [item.ReferencedSOPInstanceUID for item in series.ContourImageSequence] == [i.SOPInstanceUID for i in slices]
    place = {image.SOPInstanceUID: float(image.ImagePositionPatient[2]) for image in slices}
    for region in dataset.ROIContourSequence:
        for contour in region.ContourSequence:
            z = {float(value) for value in contour.ContourData[2::3]}
            assert z == {place[contour.ContourImageSequence[0].ReferencedSOPInstanceUID]}


def test_the_volume_of_the_contours_is_that_of_the_voxels(case: DicomCase):
    dataset = pydicom.dcmread(case.folder / "rtstruct.dcm")
    names = {item.ROINumber: item.ROIName for item in dataset.StructureSetROISequence}
    areas = dict.fromkeys(names.values(), 0.0)
    for region in dataset.ROIContourSequence:
        for contour in region.ContourSequence:
            x, y, _ = np.reshape(contour.ContourData, (-1, 3)).astype(float).T
            areas[names[region.ReferencedROINumber]] += abs(x @ np.roll(y, -1) - y @ np.roll(x, -1)) / 2
    assert areas["Consensus"] == pytest.approx((nifti(case, "probability") > 0.5).sum() * 0.6 * 0.7, rel=1e-4)
    assert areas["Probability 5 %"] >= areas["Consensus"]


def test_a_picture_is_kept_as_it_is_and_names_a_source_slice(case: DicomCase):
    path = case.folder / "lesion-1_picture.dcm"
    np.testing.assert_array_equal(SimpleITK.GetArrayFromImage(SimpleITK.ReadImage(path))[0], PICTURE)
    (source,) = pydicom.dcmread(path).SourceImageSequence
    assert source.ReferencedSOPInstanceUID == read_source_series(case.study).slices[6].SOPInstanceUID


def test_the_same_request_gives_the_same_bytes(case: DicomCase, write_all):
    again = write_all(case.study, (14, 11, 6), (4, 4, 2), name="again")
    other = write_all(case.study, (14, 11, 6), (4, 4, 2), name="other", request="other")
    for name in ("labelmap_seg.dcm", *MORE):
        assert (again.folder / name).read_bytes() == (case.folder / name).read_bytes()
        assert len({pydicom.dcmread(one.folder / name).SOPInstanceUID for one in (case, other)}) == 2


def test_objects_carry_patient_and_study_of_the_source_and_series_of_their_own(case: DicomCase):
    source = pydicom.dcmread(next(case.study.iterdir()))
    series = {source.SeriesInstanceUID}
    for name in case.written.files:
        dataset = pydicom.dcmread(case.folder / name)
        for keyword in ("PatientName", "PatientID", "PatientBirthDate", "StudyInstanceUID", "AccessionNumber"):
            assert dataset[keyword].value == source[keyword].value
        assert dataset.SeriesInstanceUID not in series
        series.add(dataset.SeriesInstanceUID)


def test_only_what_is_asked_for_is_written_and_a_report_alone_refers_to_slices(ball_study: Path, write_all):
    case = write_all(ball_study, (14, 11, 6), kinds=("sr", "rtstruct"))
    assert case.written.files == ["report_sr.dcm", "rtstruct.dcm"]
    (group,) = hd.sr.srread(case.folder / "report_sr.dcm").content.get_image_measurement_groups()
    assert group.tracking_identifier == "Lesion 1"


def test_where_nothing_is_there_only_pictures_and_the_report_are(ball_study: Path, write_all):
    files = write_all(ball_study, (2, 2, 11)).written.files
    assert {"report_sr.dcm", "lesion-1_picture.dcm"} <= set(files)
    assert not {"labelmap_seg.dcm", "seg.dcm"} & set(files)
