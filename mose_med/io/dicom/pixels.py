"""Stored values of DICOM files in any transfer syntax.

pydicom's decoders take them all but JPEG of 12 bits (Process 4), which GDCM decodes within SimpleITK.
"""

from __future__ import annotations

import tempfile
from contextlib import AbstractContextManager
from pathlib import Path

import numpy as np
import pydicom
from numpy.typing import NDArray
from pydicom.uid import (
    JPEG2000,
    JPEG2000Lossless,
    JPEGExtended12Bit,
    JPEGLSLossless,
    JPEGLSNearLossless,
    RLELossless,
)

from mose_med.errors import DataError
from mose_med.io.dicom.files import DicomFile, silenced, without_remarks

__all__ = ["decoders_silenced", "stored_values"]

#: One decoder alone, where others that pydicom would try after it write to stderr.
_DECODERS = {
    JPEG2000: "pylibjpeg",
    JPEG2000Lossless: "pylibjpeg",
    JPEGLSLossless: "pyjpegls",
    JPEGLSNearLossless: "pyjpegls",
    RLELossless: "pydicom",
}
#: They log how each decoder failed, with tracebacks; the error gives the reason.
_LOUD = ("pydicom.pixels.decoders.base", "openjpeg.decode")
_PIXEL_TAGS = (
    "SOPClassUID",
    "SOPInstanceUID",
    "SamplesPerPixel",
    "PhotometricInterpretation",
    "Rows",
    "Columns",
    "BitsAllocated",
    "BitsStored",
    "HighBit",
    "PixelRepresentation",
    "NumberOfFrames",
    "PixelData",
)


def decoders_silenced() -> AbstractContextManager[None]:
    """Keep decoders from logging their failures."""
    return silenced(*_LOUD)


def stored_values(file: DicomFile, dataset: pydicom.Dataset) -> NDArray[np.integer]:
    """Pixels of a file, (row, column) or (frame, row, column), before any rescaling.

    Raises:
        DataError: if it has no pixels, or they cannot be decoded.
    """
    if "PixelData" not in dataset:
        raise DataError(f"{file.name} has no pixel data")
    syntax = dataset.file_meta.get("TransferSyntaxUID", pydicom.uid.ImplicitVRLittleEndian)
    with without_remarks(), decoders_silenced():
        try:
            if syntax == JPEGExtended12Bit and dataset.get("BitsStored") != 8:
                return _decoded_by_simpleitk(dataset)
            dataset.pixel_array_options(decoding_plugin=_DECODERS.get(syntax, ""))
            return np.asarray(dataset.pixel_array)
        # Decoders are third-party plugins that fail in their own ways; all of them mean that this file cannot be used.
        except Exception as error:
            reason = " ".join(str(error).split()) or type(error).__name__
            raise DataError(f"pixel data of {file.name} ({syntax.name}) cannot be decoded: {reason}") from error


def _decoded_by_simpleitk(dataset: pydicom.Dataset) -> NDArray[np.integer]:
    """Only what describes the pixels goes through the temporary file: nothing of the patient, and no rescaling."""
    import SimpleITK  # here, since few inputs need it

    pixels = pydicom.Dataset()
    pixels.file_meta = dataset.file_meta
    for keyword in _PIXEL_TAGS:
        if keyword in dataset:
            pixels[keyword] = dataset[keyword]
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "pixels.dcm"
        pixels.save_as(path, enforce_file_format=True)
        values = SimpleITK.GetArrayFromImage(SimpleITK.ReadImage(str(path)))
    return np.asarray(values)
