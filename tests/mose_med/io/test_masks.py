from __future__ import annotations

from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import SimpleITK
import torch
from monai.data import MetaTensor

from mose_med.errors import DataError, GeometryError
from mose_med.io import read_ct, read_mask


@pytest.fixture
def left_lung(chest: MetaTensor) -> np.ndarray:
    mask = chest.numpy()[0] == -850
    mask[:40] = False
    return mask


@pytest.mark.parametrize("code", ["LPS", "RAS", "SAR", "PIL"])
def test_masks_of_any_orientation_come_back_on_the_images_grid(chest, left_lung, tmp_path: Path, code: str):
    volume = nib.Nifti1Image(left_lung.astype(np.uint8) * 3, chest.affine.numpy())
    steps = nib.orientations.ornt_transform(
        nib.io_orientation(volume.affine), nib.orientations.axcodes2ornt(tuple(code))
    )
    nib.save(volume.as_reoriented(steps), tmp_path / "lung.nii.gz")
    np.testing.assert_array_equal(read_mask(tmp_path / "lung.nii.gz", chest), left_lung)


@pytest.mark.parametrize("suffix", [".nrrd", ".mha"])
def test_what_other_programs_write_is_read(chest, left_lung, tmp_path: Path, suffix: str):
    nib.save(nib.Nifti1Image(chest.numpy()[0], chest.affine.numpy()), tmp_path / "ct.nii")
    nib.save(nib.Nifti1Image(left_lung.astype(np.uint8), chest.affine.numpy()), tmp_path / "lung.nii")
    SimpleITK.WriteImage(SimpleITK.ReadImage(str(tmp_path / "lung.nii")), str(tmp_path / f"lung{suffix}"))
    np.testing.assert_array_equal(read_mask(tmp_path / f"lung{suffix}", read_ct(tmp_path / "ct.nii")), left_lung)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda mask, affine: (mask[:-1], affine), r"its shape is \(79, 64, 22\), the image's \(80, 64, 22\)"),
        (
            lambda mask, affine: (mask, affine @ np.diag([0.5, 1, 1, 1])),
            "its spacing is 2 x 4 x 5 mm",
        ),
        (lambda mask, affine: (mask, affine + _shift(3)), "it lies 3 mm away"),
    ],
)
def test_a_mask_of_another_grid_is_refused(chest, left_lung, tmp_path: Path, change, message: str):
    mask, affine = change(left_lung.astype(np.uint8), chest.affine.numpy())
    nib.save(nib.Nifti1Image(mask, affine), tmp_path / "lung.nii")
    with pytest.raises(GeometryError, match=rf"lung.nii must lie on the grid of the study: {message}"):
        read_mask(tmp_path / "lung.nii", chest)


def _shift(mm: float) -> np.ndarray:
    shift = np.zeros((4, 4))
    shift[2, 3] = mm
    return shift


def test_an_empty_mask_is_refused(chest, tmp_path: Path):
    nib.save(nib.Nifti1Image(np.zeros(chest.shape[1:], np.uint8), chest.affine.numpy()), tmp_path / "lung.nii")
    with pytest.raises(DataError, match=r"lung.nii must have voxels that are not 0, got none: leave it out"):
        read_mask(tmp_path / "lung.nii", chest)


OBLIQUE = np.array([[0.7, 0.72, 0.1], [-0.72, 0.7, 0.05], [0.03, -0.1, 0.99]])
SHEAR = np.array([[1, 0, 0], [0, 1, 0.4], [0, 0, 1]])


@pytest.mark.parametrize("directions", [OBLIQUE, SHEAR, OBLIQUE @ SHEAR], ids=["oblique", "sheared", "both"])
@pytest.mark.parametrize("axes", [(0, 1, 2), (1, 0, 2), (2, 0, 1)])
def test_a_mask_on_the_images_own_grid_is_read(tmp_path: Path, directions: np.ndarray, axes: tuple[int, ...]):
    affine = np.eye(4)
    affine[:3, :3] = directions @ np.diag([0.8, 0.7, 2.0])
    mask = np.arange(6 * 5 * 4).reshape(6, 5, 4) % 7 == 0
    image = MetaTensor(torch.zeros(1, 6, 5, 4), affine=torch.from_numpy(affine))
    nib.save(nib.Nifti1Image(mask.transpose(axes).astype(np.uint8), affine[:, [*axes, 3]]), tmp_path / "lung.nii")
    np.testing.assert_array_equal(read_mask(tmp_path / "lung.nii", image), mask)


def test_a_mask_may_lie_by_its_other_transform(chest, left_lung, tmp_path: Path):
    volume = nib.Nifti1Image(left_lung.astype(np.uint8), chest.affine.numpy() + _shift(30))
    volume.set_qform(chest.affine.numpy(), 1)
    nib.save(volume, tmp_path / "lung.nii")
    np.testing.assert_array_equal(read_mask(tmp_path / "lung.nii", chest), left_lung)


def test_a_mask_may_lie_by_its_centre_if_the_image_does(chest, left_lung, tmp_path: Path):
    volume = nib.Nifti1Image(left_lung.astype(np.uint8), chest.affine.numpy())
    nib.save(volume, tmp_path / "lung.nii")
    centred = MetaTensor(chest.as_tensor(), affine=torch.from_numpy(volume.header.get_base_affine()))
    np.testing.assert_array_equal(read_mask(tmp_path / "lung.nii", centred, "centre"), left_lung)
    np.testing.assert_array_equal(read_mask(tmp_path / "lung.nii", chest, "centre"), left_lung)


def test_what_a_scaling_left_of_0_is_outside(chest, left_lung, tmp_path: Path):
    nib.save(nib.Nifti1Image(np.where(left_lung, 1, 1e-7), chest.affine.numpy()), tmp_path / "lung.nii")
    np.testing.assert_array_equal(read_mask(tmp_path / "lung.nii", chest), left_lung)


def test_layers_of_slicer_are_taken_together(chest, left_lung, write_slicer, tmp_path: Path):
    layers = np.stack([left_lung, left_lung[::-1]], axis=3)
    path = write_slicer(tmp_path / "lung.seg.nrrd", layers, spacing=(4, 4, 5), origin=(-160, -120, -50))
    np.testing.assert_array_equal(read_mask(path, chest), layers.any(axis=3))
