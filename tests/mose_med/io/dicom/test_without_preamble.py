"""Files of a series that do not begin as they must, or are none at all: read, or named."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pydicom
import pytest

from mose_med.errors import DataError
from mose_med.io import read_ct


@pytest.fixture
def stored() -> np.ndarray:
    return np.random.default_rng(0).integers(-1000, 1000, size=(6, 7, 5))


def without_preamble(path: Path) -> None:
    path.write_bytes(path.read_bytes()[132:])


def without_zeros(path: Path) -> None:
    path.write_bytes(path.read_bytes()[128:])


def dataset_alone(path: Path, implicit: bool = True, little: bool = True) -> None:
    image = pydicom.dcmread(path)
    if not little:
        image.PixelData = np.frombuffer(image.PixelData, "<i2").astype(">i2").tobytes()
        image["PixelData"].VR = "OW"
    image.file_meta = pydicom.dataset.FileMetaDataset()
    image.preamble = None
    pydicom.dcmwrite(path, image, implicit_vr=implicit, little_endian=little, force_encoding=True)


WAYS: dict[str, Callable[[Path], None]] = {
    "no preamble": without_preamble,
    "no zeros": without_zeros,
    "implicit dataset alone": dataset_alone,
    "explicit dataset alone": lambda path: dataset_alone(path, implicit=False),
    "big-endian dataset alone": lambda path: dataset_alone(path, implicit=False, little=False),
}


@pytest.mark.parametrize("every", [1, 2])
@pytest.mark.parametrize("way", WAYS.values(), ids=WAYS)
def test_slices_without_preamble_are_read(tmp_path: Path, write_ct_series, stored, way, every: int):
    for path in write_ct_series(tmp_path, stored)[::every]:
        way(path)
    np.testing.assert_array_equal(read_ct(tmp_path).numpy()[0], stored.transpose(2, 1, 0))


def test_a_bare_file_that_says_nothing_of_itself_is_named(tmp_path: Path, write_ct_series, stored):
    write_ct_series(tmp_path, stored)
    (tmp_path / "x").write_bytes(b"\x08\x00\x05\x00\x0a\x00\x00\x00ISO_IR 100")
    with pytest.raises(DataError, match="x has neither Modality nor a known SOPClassUID: is the file cut short"):
        read_ct(tmp_path)


@pytest.mark.parametrize("content", [b"", b"<html>no such file</html>"])
@pytest.mark.parametrize("name", ["image 007", "last.dcm", "LAST.IMA"])
def test_what_is_named_as_a_slice_but_is_none_is_named(tmp_path: Path, write_ct_series, stored, name, content):
    write_ct_series(tmp_path, stored)
    (tmp_path / name).write_bytes(content)
    with pytest.raises(DataError, match=f"{name} is named like a DICOM file but is not one: copy it again"):
        read_ct(tmp_path)


def test_other_files_beside_slices_are_passed_over(tmp_path: Path, write_ct_series, stored):
    write_ct_series(tmp_path, stored)
    for name in ("VERSION", "readme.txt", "._image 001", "._1.dcm", "image 001.json"):
        (tmp_path / name).write_bytes(b"no image")
    assert read_ct(tmp_path).shape[-1] == 6


def test_a_segmentation_without_preamble_is_read(write_seg, tmp_path: Path):
    from mose_med.io.dicom.objects.seg.reading import read_segmentation

    path = write_seg(tmp_path / "s.dcm", {(1, 0.0): np.eye(5, dtype=np.uint8)})
    affine = np.array([[-0.6, 0, 0, 10], [0, -0.7, 0, 20], [0, 0, 2, 0], [0, 0, 0, 1]], dtype=float)
    whole = read_segmentation(path, (5, 5, 1), affine)
    without_preamble(path)
    np.testing.assert_array_equal(read_segmentation(path, (5, 5, 1), affine), whole)
    assert whole.sum() == 5
