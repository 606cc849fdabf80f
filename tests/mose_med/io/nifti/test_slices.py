from __future__ import annotations

import copy
import mmap
import pickle
from collections.abc import Callable
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from numpy.typing import NDArray

from mose_med.errors import DataError
from mose_med.io.nifti.slices import OpenVolumes, read_slice

Reader = Callable[[Path, int], NDArray[np.generic]]


@pytest.fixture(params=["closed", "open"])
def read(request: pytest.FixtureRequest) -> Reader:
    return read_slice if request.param == "closed" else OpenVolumes().read_slice


@pytest.fixture(params=["plain", "compressed", "scaled"])
def volume(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    image = nib.Nifti1Image(np.arange(2 * 3 * 4 * 5, dtype=np.int16).reshape(2, 3, 4, 5), np.eye(4))
    if request.param == "scaled":
        image.header.set_slope_inter(0.5, -3)
    path = tmp_path / ("volume.nii.gz" if request.param == "compressed" else "volume.nii")
    nib.save(image, path)
    return path


def test_a_slice_is_that_of_the_loaded_volume(read: Reader, volume: Path):
    whole = np.asarray(nib.load(volume).dataobj)
    for index in (2, 0, 2):
        np.testing.assert_array_equal(read(volume, index), whole[:, :, index])


@pytest.mark.parametrize("index", [4, -1])
def test_a_slice_that_is_not_there_is_named(read: Reader, volume: Path, index: int):
    with pytest.raises(DataError, match=rf"volume\.nii(\.gz)? has no slice {index}: its shape is \(2, 3, 4, 5\)"):
        read(volume, index)


def test_a_missing_file_is_named(read: Reader, tmp_path: Path):
    with pytest.raises(DataError, match=r"gone\.nii does not exist"):
        read(tmp_path / "gone.nii", 0)


@pytest.mark.parametrize("volume", ["plain"], indirect=True)
def test_a_file_that_was_cut_off_is_named(read: Reader, volume: Path):
    volume.write_bytes(volume.read_bytes()[:500])
    with pytest.raises(DataError, match=r"volume\.nii cannot be read"):
        read(volume, 3)


def test_a_damaged_file_is_named(read: Reader, tmp_path: Path):
    (tmp_path / "bad.nii").write_bytes(b"no image")
    with pytest.raises(DataError, match=r"bad\.nii cannot be read"):
        read(tmp_path / "bad.nii", 0)


@pytest.mark.parametrize("volume", ["plain"], indirect=True)
def test_an_open_uncompressed_volume_is_mapped_not_read(volume: Path):
    owner = OpenVolumes().read_slice(volume, 1)
    while isinstance(owner, np.ndarray):
        assert not owner.flags.writeable
        owner = owner.base
    assert isinstance(owner, mmap.mmap)


@pytest.mark.parametrize("volume", ["compressed"], indirect=True)
def test_a_copy_for_another_process_carries_no_voxels(volume: Path):
    volumes = OpenVolumes()
    volumes.read_slice(volume, 1)
    assert len(pickle.dumps(volumes)) == len(pickle.dumps(OpenVolumes()))
    np.testing.assert_array_equal(copy.copy(volumes).read_slice(volume, 1), read_slice(volume, 1))
