"""NIfTI files whose two transforms disagree or say nothing."""

from __future__ import annotations

from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from mose_med.errors import ConfigError, GeometryError
from mose_med.io import ReadingOptions, read_ct, read_study, write_nifti

VALUES = np.arange(7 * 6 * 5, dtype=np.int16).reshape(7, 6, 5)
SFORM = np.array([[-0.7, 0, 0, 30.0], [0, -0.8, 0, 20], [0, 0, 2.5, -100], [0, 0, 0, 1]])
QFORM = SFORM + np.outer([1, 0, 0, 0], [0, 0, 0, -30.0])
FIELDS = ("qform_code", "sform_code", "qoffset_x", "quatern_b", "quatern_c", "quatern_d", "srow_x", "srow_y", "srow_z")


def save(path: Path, sform_code: int, qform_code: int, sform=SFORM, qform=QFORM) -> Path:
    image = nib.Nifti1Image(VALUES, None)
    image.header.set_xyzt_units("mm")
    image.set_qform(qform, qform_code)
    image.set_sform(sform, sform_code)
    nib.save(image, path)
    return path


@pytest.mark.parametrize("codes", [(2, 1), (1, 0), (0, 1), (0, 0)])
def test_the_default_is_nibabels(tmp_path: Path, codes):
    path = save(tmp_path / "ct.nii", *codes)
    np.testing.assert_allclose(np.asarray(read_ct(path).affine), nib.load(path).affine)


def test_either_transform_can_be_chosen(tmp_path: Path):
    path = save(tmp_path / "ct.nii", 2, 1)
    for choice, affine in (("sform", SFORM), ("qform", QFORM)):
        np.testing.assert_allclose(np.asarray(read_ct(path, nifti_transform=choice).affine), affine, atol=1e-5)


def test_transforms_that_disagree_are_told_with_their_distance(tmp_path: Path, caplog):
    read_ct(save(tmp_path / "ct.nii", 2, 1))
    assert "lie up to 30.0 mm apart: the sform is taken" in caplog.text
    read_ct(tmp_path / "ct.nii", nifti_transform="qform")
    assert "the qform is taken" in caplog.text


@pytest.mark.parametrize("codes", [(2, 1), (1, 0), (0, 1)])
def test_transforms_that_agree_are_not_told(tmp_path: Path, caplog, codes):
    read_ct(save(tmp_path / "ct.nii", *codes, qform=SFORM))
    assert not caplog.records


def test_a_transform_that_is_not_there_is_named(tmp_path: Path):
    path = save(tmp_path / "ct.nii", 0, 1)
    with pytest.raises(GeometryError, match=r"ct\.nii: .* must have a usable sform, its code is 0: take another"):
        read_ct(path, nifti_transform="sform")
    with pytest.raises(ConfigError, match="nifti_transform must be auto, sform, qform or centre, got 'both'"):
        read_ct(path, nifti_transform="both")


def test_a_file_without_a_place_says_so(tmp_path: Path, caplog):
    read_ct(save(tmp_path / "ct.nii", 0, 0))
    assert "has no position in the patient (its sform and qform codes are 0)" in caplog.text


@pytest.mark.parametrize("codes", [(2, 1), (1, 0), (0, 4), (0, 0)])
@pytest.mark.parametrize("choice", ["auto", "centre"])
def test_maps_carry_both_transforms_and_codes_of_the_input(tmp_path: Path, codes, choice):
    study = read_study(save(tmp_path / "ct.nii", *codes), ReadingOptions(nifti_transform=choice))
    written = tmp_path / "map.nii.gz"
    write_nifti(
        written, [VALUES], shape=VALUES.shape, dtype=np.int16, affine=study.image.affine, transforms=study.transforms
    )
    before, after = nib.load(tmp_path / "ct.nii"), nib.load(written)
    for name in FIELDS:
        np.testing.assert_array_equal(after.header[name], before.header[name], err_msg=name)
    np.testing.assert_allclose(after.affine, before.affine)
    np.testing.assert_allclose(after.header.get_qform(), before.header.get_qform())


def test_a_broken_qform_beside_an_sform_does_not_matter(tmp_path: Path):
    path = save(tmp_path / "ct.nii", 1, 1)
    content = bytearray(path.read_bytes())
    content[256:268] = np.float32([1, 1, 1]).tobytes()
    path.write_bytes(content)
    np.testing.assert_allclose(np.asarray(read_ct(path).affine), SFORM)
    with pytest.raises(GeometryError, match="must have a usable qform, its code is 1"):
        read_ct(path, nifti_transform="qform")
