from __future__ import annotations

import dataclasses
import logging
import subprocess
import zipfile
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path

import highdicom as hd
import nibabel as nib
import numpy as np
import pydicom
import pytest
import SimpleITK
from scipy import ndimage

from mose_med.errors import DataError, GeometryError
from mose_med.geometry import mm_to_index
from mose_med.io import read_ct
from mose_med.io.dicom.objects import sr
from mose_med.io.dicom.objects.case import write_dicom_case
from mose_med.io.dicom.source import read_source_series
from tests.fixtures.dicom_case import MODEL, DicomCase

OBJECTS = ("seg.dcm", "probability_seg.dcm", "report_sr.dcm")
AXIAL = (1, 0, 0, 0, 1, 0)
PRONE = (-1, 0, 0, 0, -1, 0)
OBLIQUE = (0.98, 0.198997, 0, -0.198997, 0.98, 0)
FLIPPED = (1, 0, 0, 0, -1, 0)


def nifti(case: DicomCase, name: str) -> np.ndarray:
    return np.asarray(nib.load(case.folder / f"{name}.nii.gz").dataobj)


def bits_by_segment(case: DicomCase) -> dict[str, np.ndarray]:
    """Masks (i, j, k) read from the bits of ``seg.dcm`` and the places of its frames, without highdicom."""
    dataset = pydicom.dcmread(case.folder / "seg.dcm")
    pixels = dataset.NumberOfFrames * dataset.Rows * dataset.Columns
    bits = np.unpackbits(np.frombuffer(dataset.PixelData, np.uint8), bitorder="little")[:pixels]
    image = nib.load(case.folder / "consensus.nii.gz")
    to_voxel = np.linalg.inv(image.affine) @ np.diag([-1, -1, 1, 1])
    masks = {item.SegmentLabel: np.zeros(image.shape, np.uint8) for item in dataset.SegmentSequence}
    labels = {item.SegmentNumber: item.SegmentLabel for item in dataset.SegmentSequence}
    frames = bits.reshape(dataset.NumberOfFrames, dataset.Rows, dataset.Columns)
    for frame, groups in zip(frames, dataset.PerFrameFunctionalGroupsSequence, strict=True):
        label = labels[groups.SegmentIdentificationSequence[0].ReferencedSegmentNumber]
        i, j, k, _ = to_voxel @ [*groups.PlanePositionSequence[0].ImagePositionPatient, 1]
        assert (round(i), round(j)) == (0, 0)
        masks[label][:, :, round(k)] = frame.T
    return masks


def errors_of(case: DicomCase, dciodvfy: str) -> list[str]:
    """What a validator calls an error in any of the objects."""
    found = []
    for name in case.written.files:
        result = subprocess.run([dciodvfy, "-new", case.folder / name], capture_output=True, text=True, check=False)
        assert result.stderr, f"no word on {name}"
        found += [f"{name}: {line}" for line in result.stderr.splitlines() if line.startswith("Error")]
    return found


def test_dciodvfy_finds_no_error_in_the_objects_of_a_phantom(
    phantom_lidc_root: Path, infer_dicom_case, write_dicom_objects, system_tool: Callable[[str], str]
):
    study = next(phantom_lidc_root.iterdir())
    i, j, k = (size // 2 for size in read_ct(study).shape[1:])
    case = write_dicom_objects(study, infer_dicom_case(study, (i, j, k), (0, 0, k)))
    assert case.written.files == list(OBJECTS)
    assert errors_of(case, system_tool("dciodvfy")) == []


@pytest.mark.real
@pytest.mark.parametrize("name", ["ct_chest_dicom.zip", "LIDC-IDRI-0001", "LIDC-IDRI-0003"])
def test_dciodvfy_finds_no_error_in_the_objects_of_a_real_series(
    name, shared_data: Path, tmp_path: Path, infer_dicom_case, write_dicom_objects, system_tool
):
    study = shared_data / name
    if study.suffix != ".zip":
        with zipfile.ZipFile(shared_data / "lidc_dicom.zip") as archive:
            archive.extractall(tmp_path, [member for member in archive.namelist() if name in member])
        study = tmp_path
    i, j, k = (size // 2 for size in read_ct(study).shape[1:])
    case = write_dicom_objects(study, infer_dicom_case(study, (i, j, k), (0, 0, k)))
    np.testing.assert_array_equal(bits_by_segment(case)["Consensus"], nifti(case, "consensus"))
    assert case.written.files == list(OBJECTS)
    assert errors_of(case, system_tool("dciodvfy")) == []


@pytest.mark.parametrize("orientation", [AXIAL, PRONE, OBLIQUE, FLIPPED])
def test_the_bits_of_the_segments_are_the_nifti_masks(
    orientation, tmp_path: Path, write_ct_series, ball_hu, infer_dicom_case, write_dicom_objects
):
    write_ct_series(tmp_path / "study", np.where(ball_hu == 0, -299, ball_hu), orientation=orientation)
    case = write_dicom_objects(tmp_path / "study", infer_dicom_case(tmp_path / "study", (14, 11, 6)))
    masks = bits_by_segment(case)
    np.testing.assert_array_equal(masks.pop("Consensus"), nifti(case, "consensus"))
    np.testing.assert_array_equal(masks.pop("Lesion 1"), nifti(case, "consensus"))
    assert sorted(masks) == ["Expert 1", "Expert 2"]
    for label, mask in masks.items():
        name = label.lower().replace(" ", "-")
        np.testing.assert_array_equal(mask, nifti(case, f"{name}_foreground_probability") > 0.5)
        assert mask.any()


def test_highdicom_reads_the_same_segments_by_source_instance(dicom_case: DicomCase):
    segmentation = hd.seg.segread(dicom_case.folder / "seg.dcm")
    source = read_source_series(dicom_case.study)
    uids = [dataset.SOPInstanceUID for dataset in source.slices]
    pixels = segmentation.get_pixels_by_source_instance(
        uids, ignore_spatial_locations=False, assert_missing_frames_are_empty=True
    )
    np.testing.assert_array_equal(pixels[..., 0].transpose(2, 1, 0), nifti(dicom_case, "consensus"))


def test_every_frame_names_the_source_slice_it_lies_on(dicom_case: DicomCase):
    positions = {}
    for path in dicom_case.study.iterdir():
        image = pydicom.dcmread(path)
        positions[image.SOPInstanceUID] = image.ImagePositionPatient
    for name in OBJECTS[:2]:
        for frame in pydicom.dcmread(dicom_case.folder / name).PerFrameFunctionalGroupsSequence:
            (source,) = frame.DerivationImageSequence[0].SourceImageSequence
            assert frame.PlanePositionSequence[0].ImagePositionPatient == positions[source.ReferencedSOPInstanceUID]


def test_the_probability_is_kept_to_1_in_255(dicom_case: DicomCase):
    segmentation = hd.seg.segread(dicom_case.folder / "probability_seg.dcm")
    assert (segmentation.SegmentationType, segmentation.SegmentationFractionalType) == ("FRACTIONAL", "PROBABILITY")
    uids = [dataset.SOPInstanceUID for dataset in read_source_series(dicom_case.study).slices]
    pixels = segmentation.get_pixels_by_source_instance(
        uids, ignore_spatial_locations=False, assert_missing_frames_are_empty=True
    )
    wanted = nifti(dicom_case, "probability")
    assert ((wanted > 0.01) & (wanted < 0.99)).sum() > 0
    np.testing.assert_allclose(pixels[..., 0].transpose(2, 1, 0), wanted, atol=0.51 / 255)


def test_the_frames_of_the_probability_are_compressed_and_readers_agree_on_them(dicom_case: DicomCase):
    path = dicom_case.folder / "probability_seg.dcm"
    dataset = pydicom.dcmread(path)
    assert dataset.file_meta.TransferSyntaxUID == pydicom.uid.RLELossless
    assert len(dataset.PixelData) < dataset.pixel_array.nbytes
    np.testing.assert_array_equal(SimpleITK.GetArrayFromImage(SimpleITK.ReadImage(path)), dataset.pixel_array)


def test_frames_without_a_voxel_are_not_stored(dicom_case: DicomCase):
    filled = int(nifti(dicom_case, "consensus").any(axis=(0, 1)).sum())
    dataset = pydicom.dcmread(dicom_case.folder / "seg.dcm")
    assert 0 < filled < 13
    assert dataset.NumberOfFrames == sum(mask.any(axis=(0, 1)).sum() for mask in bits_by_segment(dicom_case).values())


def test_empty_segments_are_left_out_and_listed(dicom_case: DicomCase):
    assert dicom_case.written.empty_segments == ["Lesion 2"]
    assert dicom_case.written.segments == ["Consensus", "Expert 1", "Expert 2", "Lesion 1"]
    dataset = pydicom.dcmread(dicom_case.folder / "seg.dcm")
    assert [item.SegmentLabel for item in dataset.SegmentSequence] == dicom_case.written.segments


def test_the_log_says_how_many_lesions_are_written_and_why_others_are_not(
    ball_study: Path, infer_dicom_case, write_dicom_objects, caplog
):
    distribution = infer_dicom_case(ball_study, (14, 11, 6), (4, 4, 2))
    with caplog.at_level(logging.INFO):
        write_dicom_objects(ball_study, distribution)
    why = "Lesion 2 have none, because no voxel has a marginal probability above the threshold of lesions"
    assert f"1 of 2 lesions have a segment in seg.dcm; {why}: only report_sr.dcm reports them" in caplog.text


def test_a_case_with_nothing_segmented_has_its_report_alone(
    ball_study: Path, infer_dicom_case, write_dicom_objects, caplog
):
    with caplog.at_level(logging.INFO):
        case = write_dicom_objects(ball_study, infer_dicom_case(ball_study, (2, 2, 11)))
    assert case.written.files == ["report_sr.dcm"]
    assert "empty segments were left out: Consensus, Expert 1, Expert 2, Lesion 1" in caplog.text


def test_lesions_have_segments_of_their_own(
    tmp_path: Path, write_ct_series, ball_hu, infer_dicom_case, write_dicom_objects
):
    two = np.concatenate([ball_hu, ball_hu])
    write_ct_series(tmp_path / "study", two)
    case = write_dicom_objects(tmp_path / "study", infer_dicom_case(tmp_path / "study", (14, 11, 6), (14, 11, 19)))
    masks = bits_by_segment(case)
    assert not (masks["Lesion 1"] & masks["Lesion 2"]).any()
    np.testing.assert_array_equal(masks["Lesion 1"] | masks["Lesion 2"], masks["Consensus"])
    np.testing.assert_array_equal(np.unique(np.nonzero(masks["Lesion 2"])[2]), np.arange(18, 21))


def test_lesions_that_were_found_are_the_components_above_their_threshold(
    tmp_path: Path, write_ct_series, ball_hu, infer_dicom_case, write_dicom_objects
):
    ball = np.where(ball_hu == 0, -305, ball_hu)
    write_ct_series(tmp_path / "study", np.concatenate([ball, ball[:9], ball]))
    study = tmp_path / "study"
    found = infer_dicom_case(study, region="full", min_lesion_ml=0, lesion_threshold=0.2)
    case = write_dicom_objects(study, found)
    labels, count = ndimage.label(nifti(case, "probability") > 0.2, structure=np.ones((3, 3, 3)))
    masks = bits_by_segment(case)
    assert count == len(case.distribution.lesions) == 3
    for lesion in case.distribution.lesions:
        i, j, k = np.rint(mm_to_index(case.distribution.affine, np.asarray(lesion.centroid_mm))).astype(int)
        np.testing.assert_array_equal(masks[f"Lesion {lesion.number}"], labels == labels[i, j, k])


def test_segments_say_what_they_are_and_what_made_them(dicom_case: DicomCase):
    for name in OBJECTS[:2]:
        for item in pydicom.dcmread(dicom_case.folder / name).SegmentSequence:
            assert item.SegmentedPropertyTypeCodeSequence[0].CodeMeaning == "Nodule"
            assert item.AnatomicRegionSequence[0].CodeMeaning == "Lung"
            (algorithm,) = item.SegmentationAlgorithmIdentificationSequence
            assert (algorithm.AlgorithmName, algorithm.AlgorithmVersion) == ("MoSE", "0.1.0")
            assert algorithm.AlgorithmParameters == f"weights_sha256={MODEL.weights_sha256}"


def test_the_same_request_gives_the_same_bytes(dicom_case: DicomCase, write_dicom_objects):
    again = write_dicom_objects(dicom_case.study, dicom_case.distribution, name="again")
    other = write_dicom_objects(dicom_case.study, dicom_case.distribution, request="other", name="other")
    for name in OBJECTS:
        assert (again.folder / name).read_bytes() == (dicom_case.folder / name).read_bytes()
        uids = {pydicom.dcmread(case.folder / name).SOPInstanceUID for case in (dicom_case, other)}
        assert len(uids) == 2


def test_objects_carry_patient_and_study_of_the_source(dicom_case: DicomCase):
    source = pydicom.dcmread(next(dicom_case.study.iterdir()))
    for name in OBJECTS:
        dataset = pydicom.dcmread(dicom_case.folder / name)
        for keyword in ("PatientName", "PatientID", "PatientBirthDate", "StudyInstanceUID", "AccessionNumber"):
            assert dataset[keyword].value == source[keyword].value
        assert dataset.SeriesInstanceUID != source.SeriesInstanceUID


def test_the_report_has_the_measurements_of_every_lesion(dicom_case: DicomCase):
    report = hd.sr.srread(dicom_case.folder / "report_sr.dcm")
    groups = report.content.get_volumetric_roi_measurement_groups()
    (group,), lesion = groups, dicom_case.distribution.lesions[0]
    assert group.tracking_identifier == "Lesion 1"
    values = [
        (item.name.meaning, item.derivation and item.derivation.meaning, item.value)
        for item in group.get_measurements()
    ]
    volume = lesion.volume_ml
    assert values[:4] == [
        ("Volume", "Mean", pytest.approx(volume.mean, abs=1e-6)),
        ("Volume", "Fifth percentile (qualifier value)", pytest.approx(volume.p05, abs=1e-6)),
        ("Volume", "Median", pytest.approx(volume.p50, abs=1e-6)),
        ("Volume", "Ninety-fifth percentile (qualifier value)", pytest.approx(volume.p95, abs=1e-6)),
    ]
    assert [value for name, derivation, value in values[4:] if name == "Volume"] == pytest.approx(
        volume.by_expert, abs=1e-6
    )
    assert [value for name, _, value in values if name == "Probability of the expert"] == pytest.approx(
        lesion.expert_probs
    )
    assert values[-1] == ("Probability that no voxel is lesion", None, pytest.approx(volume.p_empty, abs=1e-6))


def test_the_report_is_what_highdicom_makes_of_the_whole_content(
    dicom_case: DicomCase, write_dicom_objects, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(sr, "_measurements_aside", nullcontext)
    whole = write_dicom_objects(dicom_case.study, dicom_case.distribution, name="whole")
    report = (dicom_case.folder / "report_sr.dcm").read_bytes()
    assert report == (whole.folder / "report_sr.dcm").read_bytes()
    assert report.count(b"NUM ") > 10


def test_the_report_refers_to_the_segment_of_the_lesion_and_to_its_slices(dicom_case: DicomCase):
    (group,) = hd.sr.srread(dicom_case.folder / "report_sr.dcm").content.get_volumetric_roi_measurement_groups()
    segmentation = pydicom.dcmread(dicom_case.folder / "seg.dcm")
    reference = group.referenced_segment
    assert reference.referenced_sop_instance_uid == segmentation.SOPInstanceUID
    assert reference.referenced_segment_numbers == [dicom_case.written.segments.index("Lesion 1") + 1]
    slices = read_source_series(dicom_case.study).slices
    filled = np.flatnonzero(nifti(dicom_case, "consensus").any(axis=(0, 1)))
    named = [image.referenced_sop_instance_uid for image in reference.source_images_for_segmentation]
    assert named == [slices[k].SOPInstanceUID for k in filled]


def test_a_lesion_outside_the_consensus_names_the_slice_of_its_position(dicom_case: DicomCase):
    report = hd.sr.srread(dicom_case.folder / "report_sr.dcm")
    (group,) = report.content.get_image_measurement_groups()
    assert group.tracking_identifier == "Lesion 2"
    assert (
        group.source_images[0].referenced_sop_instance_uid
        == read_source_series(dicom_case.study).slices[2].SOPInstanceUID
    )


def test_a_case_on_another_grid_is_refused(dicom_case: DicomCase, tmp_path: Path):
    source = read_source_series(dicom_case.study)
    finer = dataclasses.replace(
        dicom_case.distribution, affine=dicom_case.distribution.affine @ np.diag([0.5, 1, 1, 1])
    )
    with pytest.raises(
        GeometryError,
        match=r"a DICOM object must lie on the grid of its series: its spacing is 0\.3 x 0\.7 x 2 mm",
    ):
        write_dicom_case(tmp_path, finer, source=source, model=MODEL, request="request")


def test_headers_that_no_object_may_have_are_told_without_their_values(dicom_case: DicomCase, tmp_path: Path):
    source = read_source_series(dicom_case.study)
    source.slices[6].SOPClassUID = "1.2.3.4.5"
    with pytest.raises(DataError, match=r"has headers that DICOM objects cannot use .KeyError.: leave out --dicom-s"):
        write_dicom_case(tmp_path, dicom_case.distribution, source=source, model=MODEL, request="request")
