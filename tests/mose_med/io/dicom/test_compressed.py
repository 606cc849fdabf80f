"""Every compressed transfer syntax that can be made here, and what is read of it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import gdcm
import numpy as np
import pydicom
import pytest
from pydicom.uid import (
    JPEG2000,
    UID,
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    JPEG2000Lossless,
    JPEGExtended12Bit,
    JPEGLossless,
    JPEGLosslessSV1,
    JPEGLSLossless,
    JPEGLSNearLossless,
    RLELossless,
)

from mose_med.errors import DataError
from mose_med.io import read_ct

LOSSLESS = [RLELossless, JPEGLSLossless, JPEG2000Lossless]


@pytest.fixture
def smooth() -> np.ndarray:
    """Stored values (n, rows, columns) of 12 bits."""
    k, j, i = np.mgrid[:3, :80, :70]
    return (1000 + 800 * np.sin(j / 5) * np.cos(i / 4) + 10 * k).astype(np.int16)


def compress_with_pydicom(path: Path, syntax: UID, **options: object) -> None:
    image = pydicom.dcmread(path)
    image.compress(syntax, **options)
    image.save_as(path)


def compress_with_gdcm(path: Path, syntax: UID) -> None:
    names = {
        JPEGLossless: gdcm.TransferSyntax.JPEGLosslessProcess14,
        JPEGLosslessSV1: gdcm.TransferSyntax.JPEGLosslessProcess14_1,
        JPEGExtended12Bit: gdcm.TransferSyntax.JPEGExtendedProcess2_4,
        JPEGLSLossless: gdcm.TransferSyntax.JPEGLSLossless,
        JPEG2000Lossless: gdcm.TransferSyntax.JPEG2000Lossless,
        RLELossless: gdcm.TransferSyntax.RLELossless,
    }
    reader, change, writer = gdcm.ImageReader(), gdcm.ImageChangeTransferSyntax(), gdcm.ImageWriter()
    reader.SetFileName(str(path))
    assert reader.Read()
    change.SetTransferSyntax(gdcm.TransferSyntax(names[syntax]))
    change.SetInput(reader.GetImage())
    assert change.Change()
    writer.SetFileName(str(path))
    writer.SetFile(reader.GetFile())
    writer.SetImage(change.GetOutput())
    assert writer.Write()


@pytest.fixture
def compressed(tmp_path: Path, write_ct_series, smooth) -> Callable[..., np.ndarray]:
    """Function that compresses a series of 12 bits and returns what is read of it, as (n, rows, columns)."""

    def read(compress: Callable[..., None], syntax: UID, **options: object) -> np.ndarray:
        tags = {"BitsStored": 12, "HighBit": 11, "PixelRepresentation": 0, "RescaleIntercept": -1024}
        for path in write_ct_series(tmp_path / "in", smooth, **tags):
            compress(path, syntax, **options)
            assert pydicom.dcmread(path).file_meta.TransferSyntaxUID == syntax
        return read_ct(tmp_path / "in").numpy()[0].transpose(2, 1, 0)

    return read


def rewrite(path: Path, syntax: UID) -> None:
    image = pydicom.dcmread(path)
    image.PixelData = (
        np.frombuffer(image.PixelData, "<i2").astype("<i2" if syntax.is_little_endian else ">i2").tobytes()
    )
    image.file_meta.TransferSyntaxUID = syntax
    plain = pydicom.Dataset(dict(image.items()))
    plain.file_meta = image.file_meta
    plain.save_as(path, enforce_file_format=True)


@pytest.mark.parametrize(
    "syntax",
    [ImplicitVRLittleEndian, ExplicitVRLittleEndian, DeflatedExplicitVRLittleEndian, ExplicitVRBigEndian],
    ids=lambda uid: uid.keyword,
)
def test_uncompressed_pixels_are_read_in_any_order(compressed, smooth, syntax: UID):
    np.testing.assert_array_equal(compressed(rewrite, syntax), smooth - 1024)


@pytest.mark.parametrize("syntax", LOSSLESS, ids=lambda uid: uid.keyword)
def test_lossless_pixels_of_pydicom_are_read_exactly(compressed, smooth, syntax: UID):
    np.testing.assert_array_equal(compressed(compress_with_pydicom, syntax), smooth - 1024)


@pytest.mark.parametrize("syntax", [*LOSSLESS, JPEGLossless, JPEGLosslessSV1], ids=lambda uid: uid.keyword)
def test_lossless_pixels_of_gdcm_are_read_exactly(compressed, smooth, syntax: UID):
    np.testing.assert_array_equal(compressed(compress_with_gdcm, syntax), smooth - 1024)


def test_near_lossless_pixels_are_as_near_as_they_say(compressed, smooth):
    assert np.abs(compressed(compress_with_pydicom, JPEGLSNearLossless, jls_error=3) - (smooth - 1024)).max() <= 3


def test_lossy_jpeg_2000_is_read(compressed, smooth):
    hu = compressed(compress_with_pydicom, JPEG2000, j2k_psnr=[80])
    np.testing.assert_allclose(hu, smooth - 1024, atol=10)


def test_jpeg_of_12_bits_is_read(compressed, smooth):
    np.testing.assert_allclose(compressed(compress_with_gdcm, JPEGExtended12Bit), smooth - 1024, atol=3)


@pytest.mark.parametrize("syntax", [*LOSSLESS, JPEGLosslessSV1, JPEGExtended12Bit], ids=lambda uid: uid.keyword)
def test_pixels_that_are_cut_short_are_refused(tmp_path: Path, write_ct_series, syntax: UID):
    noise = np.random.default_rng(0).integers(0, 4000, size=(3, 64, 64))
    paths = write_ct_series(tmp_path, noise, BitsStored=12, HighBit=11, PixelRepresentation=0)
    for path in paths:
        compress_with_gdcm(path, syntax)
    content = paths[1].read_bytes()
    paths[1].write_bytes(content[: len(content) * 2 // 3])
    with pytest.raises(DataError, match=r"image 002[^\n]*$"):
        read_ct(tmp_path)


@pytest.mark.parametrize("syntax", [*LOSSLESS, JPEGLosslessSV1], ids=lambda uid: uid.keyword)
def test_a_frame_that_is_cut_short_is_refused_in_one_line(tmp_path: Path, write_ct_series, syntax: UID, capfd, caplog):
    noise = np.random.default_rng(0).integers(0, 4000, size=(3, 64, 64))
    paths = write_ct_series(tmp_path, noise, BitsStored=12, HighBit=11, PixelRepresentation=0)
    for path in paths:
        compress_with_gdcm(path, syntax)
    image = pydicom.dcmread(paths[1])
    (frame,) = pydicom.encaps.generate_frames(image.PixelData, number_of_frames=1)
    image.PixelData = pydicom.encaps.encapsulate([frame[: len(frame) // 4 * 2]])
    image.save_as(paths[1])
    with pytest.raises(DataError, match=r"pixel data of image 002 .*cannot be decoded: [^\n]*$"):
        read_ct(tmp_path)
    assert capfd.readouterr().err == ""
    assert not caplog.records
