from __future__ import annotations

from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import torch

from mose_med.errors import ConfigError, DataError, GeometryError
from mose_med.io import Source, read_ct, read_study

AFFINE = np.array([[-0.7, 0.0, 0.1, 30.0], [0.0, -0.6, 0.0, 20.0], [0.028, 0.0, 2.5, -100.0], [0, 0, 0, 1]])


@pytest.fixture
def hu() -> np.ndarray:
    return np.random.default_rng(0).integers(-1024, 3000, size=(5, 4, 3)).astype(np.int16)


@pytest.mark.parametrize("name", ["ct.nii", "ct.nii.gz", "ct.nrrd", "ct.nhdr", "ct.mha", "CT.mhd"])
def test_every_format_gives_the_same_image(tmp_path: Path, write_volume, hu, name: str):
    geometry = {"spacing": (0.5, 0.75, 3.0), "direction": (0, -1, 0, 1, 0, 0, 0, 0, 1)}
    image = read_ct(write_volume(tmp_path / name, hu, **geometry))
    assert image.dtype == torch.int16
    np.testing.assert_array_equal(image.numpy()[0], hu)
    expected = [[0, 0.75, 0, 10], [-0.5, 0, 0, 20], [0, 0, 3, 30], [0, 0, 0, 1]]
    np.testing.assert_allclose(np.asarray(image.affine), expected, atol=1e-5)


@pytest.mark.parametrize(("name", "form"), [("a.nii", "nifti"), ("a.nhdr", "nrrd"), ("a.mhd", "metaimage")])
def test_the_source_says_which_format_it_was(tmp_path: Path, write_volume, hu, name: str, form: str):
    assert read_study(write_volume(tmp_path / name, hu)).source == Source(form)


@pytest.mark.parametrize(
    ("dtype", "read"),
    [
        ("int16", "int16"),
        (">i2", "int16"),
        ("uint8", "int16"),
        ("uint16", "int16"),
        ("int32", "int16"),
        ("float32", "float32"),
        ("float64", "float32"),
    ],
)
@pytest.mark.parametrize("version", [nib.Nifti1Image, nib.Nifti2Image])
def test_whole_numbers_stay_int16(tmp_path: Path, dtype: str, read: str, version: type):
    values = np.arange(24).reshape(2, 3, 4).astype(dtype)
    image = version(values, AFFINE)
    image.header.set_data_dtype(dtype)
    nib.save(image, tmp_path / "ct.nii.gz")
    found = read_ct(tmp_path / "ct.nii.gz").numpy()[0]
    assert found.dtype == read
    np.testing.assert_array_equal(found, values)


def test_values_beyond_int16_are_float32(tmp_path: Path):
    nib.save(nib.Nifti1Image(np.full((2, 3, 4), 40000, dtype=np.uint16), AFFINE), tmp_path / "ct.nii")
    image = read_ct(tmp_path / "ct.nii")
    assert image.dtype == torch.float32
    assert (image == 40000).all()


def test_scaled_values_are_scaled(tmp_path: Path):
    values = np.linspace(-1000, 400, 24, dtype=np.float32).reshape(2, 3, 4)
    image = nib.Nifti1Image(values, AFFINE)
    image.header.set_data_dtype(np.int16)
    nib.save(image, tmp_path / "ct.nii.gz")
    oracle = nib.load(tmp_path / "ct.nii.gz").get_fdata(dtype=np.float32)
    np.testing.assert_array_equal(read_ct(tmp_path / "ct.nii.gz").numpy()[0], oracle)


def test_colours_are_refused(tmp_path: Path):
    colours = np.zeros((2, 3, 4), dtype=[("R", "u1"), ("G", "u1"), ("B", "u1")])
    nib.save(nib.Nifti1Image(colours, AFFINE), tmp_path / "ct.nii")
    with pytest.raises(DataError, match=r"ct.nii must hold one number per voxel, got R, G, B"):
        read_ct(tmp_path / "ct.nii")


def test_values_that_are_not_finite_are_refused_in_every_format(tmp_path: Path, write_volume):
    path = write_volume(tmp_path / "ct.nrrd", np.full((2, 3, 4), np.nan, dtype=np.float32))
    with pytest.raises(DataError, match=r"ct.nrrd must have finite values, got NaN or infinity"):
        read_ct(path)


def test_a_metaimage_that_cannot_be_inverted_is_refused(tmp_path: Path, write_volume, hu):
    path = write_volume(tmp_path / "ct.mha", hu)
    path.write_bytes(path.read_bytes().replace(b"TransformMatrix = 1 0 0", b"TransformMatrix = 0 0 0"))
    with pytest.raises((GeometryError, DataError), match=r"ct.mha"):
        read_ct(path)


@pytest.mark.parametrize("name", ["ct.nhdr", "ct.mhd"])
def test_a_header_without_its_values_is_refused(tmp_path: Path, write_volume, hu, name: str, capfd):
    path = write_volume(tmp_path / name, hu)
    for other in set(tmp_path.iterdir()) - {path}:
        other.unlink()
    with pytest.raises(DataError, match=rf"{name} cannot be read: [^\n]*(ct.raw|Detached)[^\n]*$"):
        read_ct(path)
    assert capfd.readouterr().err == ""


def test_a_series_cannot_be_named_for_a_volume(tmp_path: Path, write_volume, hu):
    path = write_volume(tmp_path / "ct.nrrd", hu)
    with pytest.raises(ConfigError, match=r"series applies only to DICOM input, got '1.2' for a volume in one file"):
        read_ct(path, series="1.2")


@pytest.mark.parametrize("name", ["ct.nii", "ct.nii.gz", "ct.nrrd", "ct.mha"])
def test_files_that_are_cut_short_are_refused(tmp_path: Path, write_volume, hu, name: str):
    path = write_volume(tmp_path / name, np.repeat(hu, 40, axis=2))
    path.write_bytes(path.read_bytes()[:-40])
    with pytest.raises(DataError, match=rf"{name} cannot be read"):
        read_ct(path)
