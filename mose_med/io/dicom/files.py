"""Reading of DICOM files, and what libraries may log about them."""

from __future__ import annotations

import logging
import struct
import warnings
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from io import BytesIO
from typing import Any, BinaryIO

import pydicom
from pydicom.errors import InvalidDicomError
from pydicom.uid import (
    UID,
    EnhancedCTImageStorage,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    LegacyConvertedEnhancedCTImageStorage,
)

from mose_med.errors import DataError
from mose_med.files.dicom_signature import HEAD_BYTES, missing_beginning
from mose_med.io.dicom.inputs import DicomFile, open_files

__all__ = [
    "ENHANCED_CT",
    "DicomFile",
    "open_files",
    "read_dataset",
    "read_opened",
    "silenced",
    "without_remarks",
]

#: SOP classes of which one file holds many slices.
ENHANCED_CT = (EnhancedCTImageStorage, LegacyConvertedEnhancedCTImageStorage)
#: Of a file that does not say its own, by whether its types are implicit and its numbers little-endian.
_SYNTAXES: dict[tuple[bool | None, bool | None], UID] = {
    (True, True): ImplicitVRLittleEndian,
    (False, True): ExplicitVRLittleEndian,
    (False, False): ExplicitVRBigEndian,
}

#: What reading a damaged file raises.
_DAMAGED = (
    EOFError,
    ValueError,
    KeyError,
    AttributeError,
    OSError,
    NotImplementedError,
    struct.error,
    zipfile.BadZipFile,
    zlib.error,
)


@contextmanager
def without_remarks() -> Iterator[None]:
    """Keep pydicom from logging or warning of odd values."""
    with warnings.catch_warnings(), pydicom.config.disable_value_validation():
        warnings.simplefilter("ignore")
        yield


@contextmanager
def silenced(*names: str) -> Iterator[None]:
    """Keep the loggers of libraries from quoting identifying tags."""
    loggers = {logging.getLogger(name): logging.getLogger(name).level for name in names}
    for logger in loggers:
        logger.setLevel(logging.CRITICAL)
    try:
        yield
    finally:
        for logger, level in loggers.items():
            logger.setLevel(level)


def read_dataset(file: DicomFile, **options: Any) -> pydicom.Dataset:
    """Read one DICOM file; pydicom's remarks about odd values are not shown, since they may quote identifying tags.

    Args:
        file: to read.
        options: of ``pydicom.dcmread``.

    Raises:
        InvalidDicomError: if it is not a DICOM file.
        DataError: if it is one, but damaged.
    """
    with without_remarks():
        dataset = read_opened(file, file.open, partial(pydicom.dcmread, **options))
        if "TransferSyntaxUID" not in dataset.file_meta:
            dataset.file_meta.TransferSyntaxUID = _SYNTAXES.get(dataset.original_encoding, ImplicitVRLittleEndian)
    return dataset


def read_opened(
    file: DicomFile, open_file: Callable[[], BinaryIO], read: Callable[[BinaryIO], pydicom.Dataset]
) -> pydicom.Dataset:
    """Read a file with a function of pydicom; one that begins without preamble is given one.

    Raises:
        InvalidDicomError: if it is not a DICOM file.
        DataError: if it is one, but damaged.
    """
    with open_file() as stream:
        try:
            return _read(stream, read)
        except InvalidDicomError:
            raise
        except _DAMAGED as error:
            raise DataError(f"{file.name} is a damaged DICOM file ({type(error).__name__})") from error


def _read(stream: BinaryIO, read: Callable[[BinaryIO], pydicom.Dataset]) -> pydicom.Dataset:
    try:
        return read(stream)
    except InvalidDicomError:
        stream.seek(0)
        beginning = missing_beginning(stream.read(HEAD_BYTES))
        if beginning is None:
            raise
        stream.seek(0)
        return read(BytesIO(beginning + stream.read()))
