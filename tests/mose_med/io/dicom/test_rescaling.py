"""Series without RescaleSlope and RescaleIntercept."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pydicom
import pytest

from mose_med.errors import DataError
from mose_med.io import read_ct

WITHOUT = {"RescaleSlope": None, "RescaleIntercept": None}


@pytest.fixture
def stored() -> np.ndarray:
    return np.random.default_rng(0).integers(-1000, 1000, size=(5, 7, 6))


@pytest.mark.parametrize("value", [None, ""])
def test_values_that_can_be_hu_are_taken_as_hu_with_a_warning(
    tmp_path: Path, write_ct_series, edit_dicom, stored, caplog, value
):
    for path in write_ct_series(tmp_path, stored):
        edit_dicom(path, RescaleSlope=value, RescaleIntercept=value)
    np.testing.assert_array_equal(read_ct(tmp_path).numpy()[0], stored.transpose(2, 1, 0))
    low, high = stored.min(), stored.max()
    assert caplog.messages == [
        f"no slice has RescaleSlope and RescaleIntercept: values, {low} to {high}, are taken as HU"
    ]


def test_values_that_cannot_be_hu_are_refused(tmp_path: Path, write_ct_series, edit_dicom, stored):
    for path in write_ct_series(tmp_path, stored + 1024, PixelRepresentation=0):
        edit_dicom(path, **WITHOUT)
        image = pydicom.dcmread(path)
        image.add_new("PixelPaddingValue", "US", 1500)
        image.save_as(path)
    with pytest.raises(
        DataError, match=r"image 005 has no RescaleSlope and RescaleIntercept, and its values, .* are not HU"
    ):
        read_ct(tmp_path)


def test_one_slice_without_rescaling_is_named(tmp_path: Path, write_ct_series, edit_dicom, stored):
    edit_dicom(write_ct_series(tmp_path, stored)[1], **WITHOUT)
    with pytest.raises(DataError, match="image 004 has no RescaleSlope and RescaleIntercept, but other slices have"):
        read_ct(tmp_path)


def test_one_tag_without_the_other_is_named(tmp_path: Path, write_ct_series, edit_dicom, stored):
    for path in write_ct_series(tmp_path, stored):
        edit_dicom(path, RescaleSlope=None)
    with pytest.raises(DataError, match="has no usable RescaleSlope"):
        read_ct(tmp_path)


def test_tags_of_another_form_are_not_missing(tmp_path: Path, write_ct_series, stored):
    for path in write_ct_series(tmp_path, stored):
        path.write_bytes(re.sub(rb"(\x28\x00[\x52\x53]\x10DS.\x00)..", rb"\1xy", path.read_bytes()))
    with pytest.raises(DataError, match="has no usable RescaleSlope"):
        read_ct(tmp_path)
