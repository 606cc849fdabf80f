from __future__ import annotations

import gzip
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import SimpleITK
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from mose_med.case_contents.maps import STEP
from mose_med.errors import ConfigError, DataError, GeometryError, ShapeError
from mose_med.io import read_ct, read_nifti, write_nifti

AFFINE = np.array([[-0.7, 0.0, 0.1, 30.0], [0.0, -0.6, 0.0, 20.0], [0.028, 0.0, 2.5, -100.0], [0, 0, 0, 1]])


@pytest.fixture
def values() -> np.ndarray:
    return np.random.default_rng(0).normal(size=(7, 6, 5)).astype(np.float32)


def save(path: Path, values: np.ndarray, affine: np.ndarray = AFFINE) -> Path:
    nib.save(nib.Nifti1Image(values, affine), path)
    return path


@pytest.mark.parametrize("name", ["ct.nii", "ct.nii.gz", "CT.NII"])
def test_values_and_affine_are_nibabels(tmp_path: Path, values, name):
    oracle = nib.load(save(tmp_path / name, values))
    image = read_ct(tmp_path / name)
    np.testing.assert_array_equal(image.numpy()[0], oracle.get_fdata())
    np.testing.assert_array_equal(image.affine, oracle.affine)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (np.zeros((3, 3, 3, 2)), r"must be a 3D volume, got shape \(3, 3, 3, 2\)"),
        (np.zeros((3, 3)), r"must be a 3D volume, got shape \(3, 3\)"),
        (np.full((3, 3, 3), np.nan), "must have finite values, got NaN or infinity"),
    ],
)
def test_volumes_that_are_no_ct_are_refused(tmp_path: Path, values, message):
    with pytest.raises(DataError, match=rf"ct\.nii {message}"):
        read_nifti(save(tmp_path / "ct.nii", values))


def test_a_fourth_axis_of_one_is_dropped(tmp_path: Path, values):
    image = read_nifti(save(tmp_path / "ct.nii.gz", values[..., None])).image
    np.testing.assert_array_equal(image.numpy()[0], values)


def test_an_affine_that_is_not_invertible_is_refused(tmp_path: Path, values):
    path = save(tmp_path / "ct.nii", values)
    content, rows = bytearray(path.read_bytes()), np.zeros((3, 4), dtype=np.float32)
    content[280 : 280 + rows.nbytes] = rows.tobytes()
    path.write_bytes(content)
    with pytest.raises(GeometryError, match=r"ct\.nii: affine must be invertible"):
        read_nifti(path)


def test_another_unit_of_length_is_refused(tmp_path: Path, values):
    image = nib.Nifti1Image(values, AFFINE)
    image.header.set_xyzt_units("micron")
    nib.save(image, tmp_path / "ct.nii")
    with pytest.raises(GeometryError, match="must be in mm, got micron"):
        read_nifti(tmp_path / "ct.nii")


def test_damaged_files_are_refused(tmp_path: Path, values):
    whole = save(tmp_path / "whole.nii.gz", values).read_bytes()
    changed = whole[:300] + bytes(40) + whole[340:]
    contents = {"cut.nii.gz": whole[:-200], "changed.nii.gz": changed, "text.nii": b"no image", "empty.nii.gz": b""}
    for name, content in contents.items():
        (tmp_path / name).write_bytes(content)
        with pytest.raises(DataError, match=f"{name} cannot be read as NIfTI"):
            read_nifti(tmp_path / name)
    with pytest.raises(DataError, match=r"absent.nii does not exist"):
        read_nifti(tmp_path / "absent.nii")


def test_a_series_cannot_be_named_for_nifti(tmp_path: Path, values):
    with pytest.raises(ConfigError, match=r"series applies only to DICOM input, got '1.2'"):
        read_ct(save(tmp_path / "ct.nii", values), series="1.2")


@pytest.mark.parametrize("dtype", [np.float32, np.uint8])
def test_written_slabs_are_read_back_by_nibabel(tmp_path: Path, values, dtype):
    values = np.stack([values, 3 * values], axis=-1).astype(dtype)
    slabs = [values[:, :, k : k + 2, channel] for channel in range(2) for k in (0, 2, 4)]
    write_nifti(tmp_path / "map.nii.gz", slabs, shape=values.shape, dtype=dtype, affine=AFFINE)
    image = nib.load(tmp_path / "map.nii.gz")
    assert image.get_data_dtype() == dtype
    np.testing.assert_array_equal(np.asanyarray(image.dataobj), values)
    np.testing.assert_array_equal(image.affine, AFFINE.astype(np.float32))


def test_a_repeated_zero_is_written_as_zeros_are(tmp_path: Path, values):
    pieces = [values[..., :2], np.broadcast_to(np.float32(0), (7, 6, 3))]
    write_nifti(tmp_path / "map.nii.gz", pieces, shape=values.shape, dtype=np.float32, affine=AFFINE)
    stored = nib.load(tmp_path / "map.nii.gz").get_fdata()
    np.testing.assert_array_equal(stored[..., :2], values[..., :2])
    assert not stored[..., 2:].any()


def test_a_repeated_value_is_kept(tmp_path: Path):
    ones = np.broadcast_to(np.uint8(1), (4, 3, 2))
    write_nifti(tmp_path / "map.nii.gz", [ones], shape=ones.shape, dtype=np.uint8, affine=AFFINE)
    np.testing.assert_array_equal(nib.load(tmp_path / "map.nii.gz").get_fdata(), 1)


def test_simpleitk_reads_a_map_as_nibabel_does(tmp_path: Path, values):
    pieces = [np.broadcast_to(np.float32(0), (7, 6, 30_000)), values]
    write_nifti(tmp_path / "map.nii.gz", pieces, shape=(7, 6, 30_005), dtype=np.float32, affine=np.eye(4))
    read = SimpleITK.GetArrayFromImage(SimpleITK.ReadImage(str(tmp_path / "map.nii.gz")))
    np.testing.assert_array_equal(read.T[..., -5:], values)
    assert not read.T[..., :-5].any()


@given(hnp.arrays(np.float32, (3, 2, 2), elements=st.floats(0, 1, width=32)), st.sampled_from((STEP, 1 / 4000)))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=30)
def test_scaled_values_are_off_by_half_a_step_at_most(tmp_path: Path, values: np.ndarray, step: float):
    write_nifti(tmp_path / "map.nii.gz", [values], shape=values.shape, dtype=np.int16, affine=AFFINE, step=step)
    read = nib.load(tmp_path / "map.nii.gz").get_fdata()
    assert np.abs(read - values).max() <= step / 2 + 1e-7
    assert not read[values <= step / 2].any()


def test_every_reader_gives_scaled_values_as_numbers(tmp_path: Path):
    values = np.array([0, STEP / 2, 0.001, 0.25, 0.5, np.log(2), 1], dtype=np.float32).reshape(7, 1, 1)
    write_nifti(tmp_path / "map.nii.gz", [values], shape=values.shape, dtype=np.int16, affine=AFFINE, step=STEP)
    readers = {
        "nibabel": nib.load(tmp_path / "map.nii.gz").get_fdata(),
        "SimpleITK": SimpleITK.GetArrayFromImage(SimpleITK.ReadImage(tmp_path / "map.nii.gz")).T,
        "read_nifti": read_nifti(tmp_path / "map.nii.gz").image.numpy()[0],
    }
    for name, read in readers.items():
        np.testing.assert_allclose(read.ravel(), [0, 0, STEP, 0.25, 0.5, 710 * STEP, 1], atol=1e-7, err_msg=name)


def test_a_repeated_zero_is_written_as_zeros_are_where_values_are_scaled(tmp_path: Path):
    nothing = np.broadcast_to(np.float32(0), (7, 6, 5))
    write_nifti(tmp_path / "map.nii.gz", [nothing], shape=nothing.shape, dtype=np.int16, affine=AFFINE, step=STEP)
    image = nib.load(tmp_path / "map.nii.gz")
    assert (image.shape, image.get_fdata().any()) == ((7, 6, 5), False)


def test_bytes_depend_neither_on_time_nor_name(tmp_path: Path):
    values = np.random.default_rng(1).normal(size=(128, 128, 40)).astype(np.float32)
    for name in ("a.nii.gz", "b.nii.gz"):
        write_nifti(tmp_path / name, [values], shape=values.shape, dtype=np.float32, affine=AFFINE)
    content = (tmp_path / "a.nii.gz").read_bytes()
    assert content == (tmp_path / "b.nii.gz").read_bytes()
    assert content[3] == 0
    assert content[4:8] == bytes(4)
    assert len(gzip.decompress(content)) == 352 + values.nbytes


def test_slabs_that_do_not_fill_the_shape_are_refused(tmp_path: Path, values):
    with pytest.raises(ShapeError, match=r"slabs must hold 420 values for shape \(7, 6, 10\), got 210"):
        write_nifti(tmp_path / "a.nii.gz", [values], shape=(7, 6, 10), dtype=np.float32, affine=AFFINE)
