from __future__ import annotations

from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from mose_med.errors import DataError
from mose_med.io.volumes import read_volume


@pytest.mark.parametrize("name", ["v.nii", "v.nii.gz", "v.nrrd", "v.nhdr", "v.mha", "v.mhd"])
def test_every_format_gives_the_same_volume(name: str, write_volume, tmp_path: Path):
    array = np.arange(24, dtype=np.int16).reshape(4, 3, 2)
    direction = (0, -1, 0, 1, 0, 0, 0, 0, 1)
    geometry = {"spacing": (0.5, 0.75, 3.0), "origin": (-10.0, 20.0, 5.0), "direction": direction}
    volume = read_volume(write_volume(tmp_path / name, array, **geometry))
    np.testing.assert_array_equal(volume.array, array)
    expected = [[0, 0.75, 0, 10], [-0.5, 0, 0, -20], [0, 0, 3, 5], [0, 0, 0, 1]]
    np.testing.assert_allclose(volume.affine, expected, atol=1e-5)


def test_nibabel_is_the_oracle_of_the_affine(write_volume, tmp_path: Path):
    array = np.zeros((2, 3, 4), dtype=np.uint8)
    nifti, nrrd = (write_volume(tmp_path / name, array, origin=(1.0, 2.0, 3.0)) for name in ("v.nii", "v.nrrd"))
    np.testing.assert_allclose(read_volume(nrrd).affine, nib.load(nifti).affine, atol=1e-6)


def test_fourth_axis_of_one_is_dropped(tmp_path: Path):
    nib.save(nib.Nifti1Image(np.zeros((2, 3, 4, 1), dtype=np.uint8), np.eye(4)), tmp_path / "v.nii")
    assert read_volume(tmp_path / "v.nii").array.shape == (2, 3, 4)


@pytest.mark.parametrize(
    ("name", "content", "reason"),
    [
        ("v.png", b"", r"v.png must be one of .nii .nii.gz"),
        ("v.nii.gz", b"no", r"v.nii.gz cannot be read as NIfTI: "),
        ("v.nrrd", b"no", r"v.nrrd cannot be read: "),
        ("v.mha", None, r"v.mha does not exist"),
    ],
)
def test_files_that_are_no_volume_are_named(name: str, content: bytes | None, reason: str, tmp_path: Path):
    if content is not None:
        (tmp_path / name).write_bytes(content)
    with pytest.raises(DataError, match=reason):
        read_volume(tmp_path / name)


def test_channels_are_refused(tmp_path: Path):
    nib.save(nib.Nifti1Image(np.zeros((2, 3, 4, 2), dtype=np.uint8), np.eye(4)), tmp_path / "v.nii")
    with pytest.raises(DataError, match=r"v.nii must be a 3D volume, got shape \(2, 3, 4, 2\)"):
        read_volume(tmp_path / "v.nii")
