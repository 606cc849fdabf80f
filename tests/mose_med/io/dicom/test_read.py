from __future__ import annotations

import logging
import shutil
import subprocess
import zipfile
from pathlib import Path

import nibabel as nib
import numpy as np
import pydicom
import pytest
import SimpleITK as sitk  # noqa: N813
from pydicom.uid import RLELossless

from mose_med.errors import ConfigError, DataError, GeometryError
from mose_med.geometry import LPS_TO_RAS
from mose_med.io import read_ct, read_dicom

OBLIQUE = tuple(np.linalg.qr([[1.0, 0.1, 0.05], [0.1, -1.0, 0.1], [0.0, 0.1, 1.0]])[0].T[:2].ravel())


@pytest.fixture
def stored() -> np.ndarray:
    return np.random.default_rng(0).integers(-1000, 1000, size=(5, 7, 6))


def itk_image(paths: list[Path]) -> sitk.Image:
    reader = sitk.ImageSeriesReader()
    reader.SetFileNames([str(path) for path in paths])
    return reader.Execute()


def itk_affine(image: sitk.Image) -> np.ndarray:
    affine = np.eye(4)
    affine[:3, :3] = np.reshape(image.GetDirection(), (3, 3)) * image.GetSpacing()
    affine[:3, 3] = image.GetOrigin()
    return LPS_TO_RAS @ affine


@pytest.mark.parametrize("orientation", [(1, 0, 0, 0, 1, 0), (-1, 0, 0, 0, -1, 0), OBLIQUE])
def test_geometry_and_hu_equal_simpleitk(tmp_path: Path, write_ct_series, stored, orientation):
    paths = write_ct_series(tmp_path, stored, orientation=orientation, RescaleSlope=2, RescaleIntercept=-1024)
    image, oracle = read_ct(tmp_path), itk_image(paths)
    np.testing.assert_allclose(np.asarray(image.affine), itk_affine(oracle), atol=1e-4)
    np.testing.assert_array_equal(image.numpy()[0], sitk.GetArrayFromImage(oracle).clip(-1024).transpose(2, 1, 0))


def test_geometry_and_hu_equal_dcm2niix(tmp_path: Path, write_ct_series, stored, system_tool):
    write_ct_series(tmp_path / "in", stored, orientation=OBLIQUE)
    (tmp_path / "out").mkdir()
    subprocess.run([system_tool("dcm2niix"), "-o", tmp_path / "out", tmp_path / "in"], check=True, capture_output=True)
    # Beside the series dcm2niix may write one that it resampled, with a longer name (.._Eq).
    oracle = nib.load(min((tmp_path / "out").glob("*.nii"), key=lambda path: len(path.name)))
    image = read_ct(tmp_path / "in")
    mine = nib.Nifti1Image(image.numpy()[0], np.asarray(image.affine))
    mine, oracle = nib.as_closest_canonical(mine), nib.as_closest_canonical(oracle)
    np.testing.assert_allclose(mine.affine, oracle.affine, atol=1e-4)
    np.testing.assert_array_equal(mine.get_fdata(), oracle.get_fdata())


def test_a_zip_is_read_as_its_folder_is(tmp_path: Path, write_ct_series, stored):
    paths = write_ct_series(tmp_path / "study", stored)
    with zipfile.ZipFile(tmp_path / "study.zip", "w") as archive:
        for path in paths:
            archive.write(path, f"deep  er/{path.name}")
        archive.writestr("deep  er/readme.txt", "not DICOM")
    zipped, folder = read_ct(tmp_path / "study.zip"), read_ct(tmp_path / "study")
    np.testing.assert_array_equal(zipped.numpy(), folder.numpy())
    np.testing.assert_array_equal(zipped.affine, folder.affine)


def test_each_slice_has_its_own_rescaling(tmp_path: Path, write_ct_series, edit_dicom, stored):
    paths = write_ct_series(tmp_path, stored)
    edit_dicom(paths[3], RescaleSlope=0.5, RescaleIntercept=-7)
    volume = read_ct(tmp_path).numpy()[0]
    np.testing.assert_array_equal(volume[..., 3], 0.5 * stored[3].T - 7)
    np.testing.assert_array_equal(volume[..., 2], stored[2].T)


@pytest.mark.parametrize(("vr", "value"), [("SS", -2000), ("US", 2**16 - 2000)])
def test_padding_values_become_air(tmp_path: Path, write_ct_series, stored, vr, value):
    stored[0, 0, 0], stored[0, 0, 1], stored[0, 0, 2] = -2000, -1990, -1980
    (path, *_) = write_ct_series(tmp_path, stored, RescaleIntercept=1000)
    image = pydicom.dcmread(path)
    image.add_new("PixelPaddingValue", vr, value)
    image.add_new("PixelPaddingRangeLimit", "SS", -1990)
    image.save_as(path)
    np.testing.assert_array_equal(read_ct(tmp_path).numpy()[0, :3, 0, 0], [-1024, -1024, -980])


def test_compressed_pixels_are_decoded(tmp_path: Path, write_ct_series, stored):
    for path in write_ct_series(tmp_path, stored):
        image = pydicom.dcmread(path)
        image.compress(RLELossless)
        image.save_as(path)
    np.testing.assert_array_equal(read_ct(tmp_path).numpy()[0], stored.transpose(2, 1, 0))


def test_identity_is_kept_apart_from_the_image(tmp_path: Path, write_ct_series, stored):
    write_ct_series(tmp_path, stored, SeriesInstanceUID="1.2.3")
    study = read_dicom(tmp_path)
    assert study.source[:4] == ("dicom", "Zyxwvut^Planted", "1.2.826.0.1.3680043.8.498.19010203", "1.2.3")
    assert "Zyxwvut" not in str(study.image)


def test_the_series_with_most_axial_slices_is_read_unless_one_is_named(tmp_path: Path, write_ct_series, stored):
    write_ct_series(tmp_path / "short", stored[:3], SeriesInstanceUID="1.2.1")
    write_ct_series(tmp_path / "axial", stored[:4], SeriesInstanceUID="1.2.2")
    write_ct_series(tmp_path / "coronal", stored, SeriesInstanceUID="1.2.3", orientation=(1, 0, 0, 0, 0, -1))
    assert read_ct(tmp_path).shape[-1] == 4
    assert read_ct(tmp_path, series="1.2.1").shape[-1] == 3


def test_series_without_uid_are_told_apart_by_folder(tmp_path: Path, write_ct_series, stored):
    write_ct_series(tmp_path / "a", stored, SeriesInstanceUID="")
    write_ct_series(tmp_path / "b", stored[:4], SeriesInstanceUID="")
    assert read_ct(tmp_path).shape[-1] == 5


def test_localizers_are_left_out(tmp_path: Path, write_ct_series, stored):
    write_ct_series(tmp_path / "a", stored, SeriesInstanceUID="1.2")
    (extra, *_) = write_ct_series(tmp_path / "b", stored[:1], SeriesInstanceUID="1.2", first_mm=(0.0, 0.0, 500.0))
    image = pydicom.dcmread(extra)
    image.ImageType = ["ORIGINAL", "PRIMARY", "LOCALIZER"]
    image.save_as(extra)
    assert read_ct(tmp_path).shape[-1] == 5


def test_objects_of_modality_ct_that_are_no_images_are_passed_over(tmp_path: Path, write_ct_series, edit_dicom, stored):
    write_ct_series(tmp_path / "a", stored)
    (extra, *_) = write_ct_series(tmp_path / "b", stored[:1])
    siemens = "1.3.12.2.1107.5.9.1"
    edit_dicom(extra, SOPClassUID=siemens, Rows=None, Columns=None, PixelData=None)
    image = pydicom.dcmread(extra)
    image.file_meta.MediaStorageSOPClassUID = siemens
    image.save_as(extra)
    assert read_ct(tmp_path).shape[-1] == 5


def test_ct_without_modality_is_read_with_a_warning(tmp_path: Path, write_ct_series, stored, caplog):
    write_ct_series(tmp_path, stored, Modality="")
    with caplog.at_level(logging.WARNING):
        read_ct(tmp_path)
    assert "5 of 5 files have no Modality: taken as CT by their SOP class" in caplog.text


def test_odd_tags_are_neither_warned_of_nor_logged(tmp_path: Path, write_ct_series, stored, caplog):
    for path in write_ct_series(tmp_path, stored, StudyInstanceUID="1.2.33"):
        path.write_bytes(path.read_bytes().replace(b"1.2.33", b"Zyxw.3"))
    read_ct(tmp_path)
    assert not caplog.records


def test_slices_a_rounding_apart_are_equally_spaced(tmp_path: Path, write_ct_series, edit_dicom, stored):
    paths = write_ct_series(tmp_path, stored, step_mm=0.625)
    for k, path in enumerate(paths):
        edit_dicom(path, ImagePositionPatient=[-10, -20, round(0.625 * k, 1)])
    np.testing.assert_allclose(np.asarray(read_ct(tmp_path).affine)[2, 2], 2.5 / 4)


def test_files_that_are_stored_twice_are_read_once(tmp_path: Path, write_ct_series, stored, caplog):
    write_ct_series(tmp_path / "study" / "first", stored)
    once = read_ct(tmp_path / "study")
    shutil.make_archive(str(tmp_path / "again"), "zip", tmp_path / "study")
    shutil.move(tmp_path / "again.zip", tmp_path / "study")
    twice = read_ct(tmp_path / "study")
    assert "5 slices are stored twice: one of each is read" in caplog.text
    np.testing.assert_array_equal(twice.numpy(), once.numpy())


# What is done to the five slices of a series, and the sentence the user reads.
FAULTS = {
    "two slices": (lambda p, _: [x.unlink() for x in p[2:]], "must have at least 3 slices, got 2"),
    "gap": (lambda p, _: p[2].unlink(), "slices are missing between image 004 and image 002: 4.000 mm apart where 2"),
    "duplicate": (
        lambda p, edit: edit(shutil.copy(p[2], p[2].with_name("copy")), ContentDate="20200101"),
        "copy and image 003 lie at the same position",
    ),
    "spacing": (
        lambda p, edit: edit(p[2], ImagePositionPatient=[-10, -20, -45.5]),
        "slices are not equally spaced between image 004 and image 003: 2.500 mm apart",
    ),
    "tilt": (
        lambda p, edit: [edit(x, ImagePositionPatient=[-10, -20 + k, -50 + 2 * k]) for k, x in enumerate(p)],
        r"image 001 is shifted in its plane by 4.00 mm against the first slice, as by a gantry tilted by 26.6 deg",
    ),
    "orientation": (
        lambda p, edit: edit(p[1], ImageOrientationPatient=[-1, 0, 0, 0, -1, 0]),
        "slices of a series must have the same ImageOrientationPatient",
    ),
    "pixel spacing": (lambda p, edit: edit(p[1], PixelSpacing=[1, 1]), "must have the same PixelSpacing"),
    "two patients": (
        lambda p, edit: edit(p[1], PatientID="B"),
        r"must hold one patient, got 2 \(image 001 and image 004",
    ),
    "colour": (lambda p, edit: edit(p[1], SamplesPerPixel=3), "image 004 must be a grey image, got 3 samples"),
    "frames": (lambda p, edit: edit(p[1], NumberOfFrames=2), "image 004 must hold one slice, got 2 frames"),
    "no position": (lambda p, edit: edit(p[1], ImagePositionPatient=None), "image 004 has no usable ImagePositionP"),
    "position in words": (
        lambda p, _: p[1].write_bytes(p[1].read_bytes().replace(rb"-20.0\-48.0", rb"twenty\down")),
        "image 004 has no usable ImagePositionPatient",
    ),
    "cut header": (lambda p, _: p[-1].write_bytes(p[-1].read_bytes()[:450]), "image 001 has no Rows or Columns"),
    "cut meta": (lambda p, _: p[-1].write_bytes(p[-1].read_bytes()[:155]), "image 001 is a damaged DICOM file"),
    "cut class": (
        lambda p, _: p[-1].write_bytes(p[-1].read_bytes()[:180]),
        "image 001 has neither Modality nor a known SOPC",
    ),
    "no rows": (
        lambda p, edit: [edit(x, Rows=None) for x in p],
        "image 001 has no Rows or Columns: is the file cut short",
    ),
    "no spacing": (
        lambda p, edit: edit(p[1], PixelSpacing=[0, 0.6]),
        r"image 004 must have PixelSpacing > 0, got \(0.0",
    ),
    "no orientation": (lambda p, edit: edit(p[1], ImageOrientationPatient=None), "has no usable ImageOrientationP"),
    "no slope": (lambda p, edit: edit(p[1], RescaleSlope=None), "image 004 has no usable RescaleSlope"),
    "no pixels": (lambda p, edit: edit(p[1], PixelData=None), "image 004 has no pixel data"),
    "short pixels": (
        lambda p, edit: edit(p[1], PixelData=bytes(20)),
        "pixel data of image 004 .* cannot be decoded: T",
    ),
    "truncated": (lambda p, _: p[1].write_bytes(p[1].read_bytes()[:-30]), "image 004"),
    "other modality": (
        lambda p, edit: [edit(x, Modality="MR") for x in p],
        "no CT image among 5 DICOM files: Modality must be CT, got MR",
    ),
}


@pytest.mark.parametrize(("spoil", "message"), FAULTS.values(), ids=FAULTS)
def test_bad_series_are_refused_by_name(tmp_path: Path, write_ct_series, edit_dicom, stored, spoil, message):
    spoil(write_ct_series(tmp_path, stored), edit_dicom)
    with pytest.raises((DataError, GeometryError), match=message) as caught:
        read_ct(tmp_path)
    assert "\n" not in str(caught.value)


def test_a_damaged_zip_is_refused(tmp_path: Path, write_ct_series, stored):
    with zipfile.ZipFile(tmp_path / "study.zip", "w") as archive:
        for path in write_ct_series(tmp_path / "study", stored):
            archive.write(path, path.name)
    content = bytearray((tmp_path / "study.zip").read_bytes())
    content[1000] ^= 255
    (tmp_path / "study.zip").write_bytes(content)
    with pytest.raises(DataError, match=r"image 005 is a damaged DICOM file \(BadZipFile\)"):
        read_ct(tmp_path / "study.zip")


def test_series_of_another_plane_are_refused(tmp_path: Path, write_ct_series, stored):
    write_ct_series(tmp_path, stored, orientation=(1, 0, 0, 0, 0, -1))
    with pytest.raises(GeometryError, match=r"is not axial: the normal of its plane is \(0.00, 1.00, 0.00\) in LPS"):
        read_ct(tmp_path)


def test_an_unknown_series_is_refused(tmp_path: Path, write_ct_series, stored):
    write_ct_series(tmp_path, stored)
    with pytest.raises(ConfigError, match=r"no CT series '9.9' in the input"):
        read_ct(tmp_path, series="9.9")


def test_inputs_without_dicom_are_refused(tmp_path: Path):
    with pytest.raises(DataError, match="no DICOM file among 0 files"):
        read_ct(tmp_path)
    (tmp_path / "notes.txt").write_text("nothing")
    with pytest.raises(DataError, match="no DICOM file among 1 files"):
        read_ct(tmp_path)
    (tmp_path / "a.nii.gz").write_text("nothing")
    with pytest.raises(
        DataError, match=r"among 2 files: name .*; a.nii.gz can be named itself, or all with --input-dir"
    ):
        read_ct(tmp_path)
    with pytest.raises(DataError, match=r"notes.txt is neither a folder nor a zip archive"):
        read_ct(tmp_path / "notes.txt")
    with pytest.raises(DataError, match="absent does not exist"):
        read_ct(tmp_path / "absent")
