from __future__ import annotations

import logging
from pathlib import Path

import numpy as np
import pytest

from mose_med.io import read_ct
from mose_med.io.padding import without_padding

PADDED = np.where(np.arange(8 * 6 * 4).reshape(8, 6, 4) % 5, -700, -3024).astype(np.int16)


@pytest.mark.parametrize("dtype", ["int16", "int32", "float32"])
@pytest.mark.parametrize("value", [-1025, -2000, -3024, -32768])
def test_values_below_air_are_outside_whatever_their_type(dtype: str, value: int):
    values, count = without_padding(np.array([value, -1024, -1000, 40], dtype=dtype))
    assert (values.tolist(), values.dtype, count) == ([-1024, -1024, -1000, 40], np.dtype(dtype), 1)


def test_air_that_a_scaling_moved_a_little_is_not_counted():
    values, count = without_padding(np.float32([-1024.0001, 0]))
    assert (values.tolist(), count) == ([-1024, 0], 0)


def test_the_callers_values_stay_as_they_are():
    values = np.int16([-3024, 0])
    without_padding(values)
    assert values.tolist() == [-3024, 0]


@pytest.mark.parametrize("name", ["ct.nii", "ct.nii.gz", "ct.nrrd", "ct.mha"])
def test_volumes_of_every_format_have_air_outside_the_field_of_view(name, write_volume, tmp_path: Path, caplog):
    with caplog.at_level(logging.WARNING, "mose_med"):
        image = read_ct(write_volume(tmp_path / name, PADDED))
    assert sorted(np.unique(image.numpy())) == [-1024, -700]
    assert f"{(PADDED == -3024).sum()} voxels below -1024 HU" in caplog.text


def test_dicom_has_air_outside_the_field_of_view(write_ct_series, tmp_path: Path, caplog):
    write_ct_series(tmp_path / "study", PADDED.T)
    with caplog.at_level(logging.WARNING, "mose_med"):
        image = read_ct(tmp_path / "study")
    assert sorted(np.unique(image.numpy())) == [-1024, -700]
    assert "voxels below -1024 HU" in caplog.text
