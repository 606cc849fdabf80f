"""Volumes in one file whose axes do not meet at right angles."""

from __future__ import annotations

from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from mose_med.errors import ConfigError, GeometryError
from mose_med.geometry import LPS_TO_RAS, reorientation
from mose_med.io import ReadingOptions, read_ct, read_study

HU = np.random.default_rng(0).integers(-900, 300, size=(9, 8, 6)).astype(np.int16)
TILT_MM = 0.5314
CORRECTED = ReadingOptions(gantry_tilt="correct")
SHEARED = np.array([[-0.7, 0, 0, 30.0], [0, -0.8, TILT_MM, 20], [0, 0, 2.5, -100], [0, 0, 0, 1]])


def save(path: Path, affine: np.ndarray = SHEARED, hu: np.ndarray = HU) -> Path:
    nib.save(nib.Nifti1Image(hu, affine), path)
    return path


def test_a_tilted_gantry_is_refused_with_the_remedy(tmp_path: Path):
    path = save(tmp_path / "ct.nii")
    with pytest.raises(GeometryError, match=r"ct\.nii: .*shifted in their plane by up to 2\.66 mm, .* 12\.0 degrees"):
        read_ct(path)
    with pytest.raises(GeometryError, match=r"\(gantry_tilt 'correct' lays them on a right-angled grid\)"):
        read_ct(path)


def test_the_correction_is_that_of_the_same_slices_in_dicom(tmp_path: Path, write_ct_series, edit_dicom):
    for k, path in enumerate(write_ct_series(tmp_path / "dicom", HU.T, PixelSpacing=[0.8, 0.7])):
        edit_dicom(path, ImagePositionPatient=[-30, -20 - TILT_MM * k, -100 + 2.5 * k])
    dicom = read_study(tmp_path / "dicom", CORRECTED)
    nifti = read_study(save(tmp_path / "ct.nii"), CORRECTED)
    np.testing.assert_allclose(np.asarray(nifti.image.affine), np.asarray(dicom.image.affine), atol=1e-4)
    np.testing.assert_allclose(nifti.image.numpy(), dicom.image.numpy(), atol=1)
    assert nifti.corrections == dicom.corrections
    assert nifti.transforms is None


@pytest.mark.parametrize("code", ["LPS", "SPL", "RIA"])
def test_slices_may_lie_along_any_axis(tmp_path: Path, code: str):
    plain = read_ct(save(tmp_path / "plain.nii"), gantry_tilt="correct")
    steps = reorientation(SHEARED, code)
    path = save(tmp_path / "turned.nii", steps.affine(SHEARED, HU.shape), steps.apply(HU))
    turned = read_ct(path, gantry_tilt="correct")
    back = reorientation(np.asarray(turned.affine), "LPS")
    np.testing.assert_allclose(
        back.affine(np.asarray(turned.affine), turned.shape[1:]), np.asarray(plain.affine), atol=1e-4
    )
    np.testing.assert_allclose(back.apply(turned.numpy()[0]), plain.numpy()[0], atol=1)


@pytest.mark.parametrize("name", ["ct.nrrd", "ct.mha"])
def test_other_formats_are_treated_alike(tmp_path: Path, write_volume, name: str):
    path = write_volume(tmp_path / name, HU, spacing=(0.7, 0.8, 2.5))
    old, new = ((b"(0,0,2.5)", b"(0,0.5314,2.5)"), (b"0 1 0 0 0 1\n", b"0 1 0 0 0.2079 0.9781\n"))[name == "ct.mha"]
    assert old in path.read_bytes()
    path.write_bytes(path.read_bytes().replace(old, new))
    with pytest.raises(GeometryError, match=rf"{name}: .* a gantry tilted by 12\.0 degrees"):
        read_ct(path)
    assert "gantry tilt of 12.0 degrees" in read_study(path, CORRECTED).corrections[0]


def test_the_shear_of_rounded_cosines_is_read_as_it_is(tmp_path: Path):
    turned = np.array([[0.9972, 0.0748, 0.008, 0], [-0.075, 0.997, 0, 0], [0, 0.003, 1, 0], [0, 0, 0, 1]])
    affine = LPS_TO_RAS @ turned @ np.diag([0.7, 0.8, 2.5, 1])
    study = read_study(save(tmp_path / "ct.nii", affine))
    np.testing.assert_allclose(np.asarray(study.image.affine), affine, atol=1e-6)
    assert not study.corrections


def test_rows_and_columns_off_the_right_angle_are_refused(tmp_path: Path):
    affine = SHEARED @ np.array([[1, 0.2, 0, 0], [0, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]])
    for choice in ("refuse", "correct"):
        with pytest.raises(GeometryError, match=r"rows and columns .* must meet at right angles, .*: resample"):
            read_ct(save(tmp_path / "ct.nii", affine), gantry_tilt=choice)


def test_another_choice_is_named(tmp_path: Path):
    with pytest.raises(ConfigError, match="gantry_tilt must be refuse or correct, got 'ignore'"):
        read_ct(save(tmp_path / "ct.nii"), gantry_tilt="ignore")
