from __future__ import annotations

import os
import re
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


# A header that MetaIO or ITK cannot use, and what is said of it.
HEADERS = {
    "cut short": ("DimSize = 5 4 300\nElementType = MET_SHORT", "it is damaged or cut short"),
    "unknown type": ("DimSize = 5 4 3\nElementType = MET_WHAT", "Unknown PixelType"),
    "flat": (
        "DimSize = 5 4 1\nElementType = MET_CHAR\nTransformMatrix = 1 0 0 0 1 0 0 0 0",
        "Bad direction, determinant is 0. Refusing to change direction from 1 0 0 0 1 0 0 0 1 to 1 0 0 0 1 0 0 0 0",
    ),
}


@pytest.mark.parametrize(("header", "reason"), HEADERS.values(), ids=HEADERS)
def test_itk_says_nothing_itself(tmp_path: Path, capfd: pytest.CaptureFixture[str], header: str, reason: str):
    path = tmp_path / "v.mha"
    path.write_bytes(f"ObjectType = Image\nNDims = 3\n{header}\nElementDataFile = LOCAL\n".encode() + bytes(20))
    with pytest.raises(DataError, match=rf"v\.mha cannot be read: {re.escape(reason)}"):
        read_volume(path)
    assert capfd.readouterr().err == ""


def test_what_others_say_while_itk_reads_is_kept(tmp_path: Path, capfd: pytest.CaptureFixture[str], monkeypatch):
    monkeypatch.setattr("SimpleITK.ReadImage", lambda _: os.write(2, b"MetaImage: odd\nWARNING  ours\n") and 1 / 0)
    (tmp_path / "v.mha").write_bytes(b"")
    with pytest.raises(ZeroDivisionError):
        read_volume(tmp_path / "v.mha")
    assert capfd.readouterr().err == "WARNING  ours\n"
