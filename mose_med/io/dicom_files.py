"""DICOM files, and the headers by which series are told apart."""

from __future__ import annotations

import logging
import math
import struct
import warnings
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import PurePosixPath
from typing import Any, BinaryIO, NamedTuple, TypeVar

import pydicom
from pydicom.datadict import tag_for_keyword
from pydicom.dataelem import RawDataElement
from pydicom.errors import InvalidDicomError
from pydicom.filereader import read_partial
from pydicom.tag import BaseTag
from pydicom.uid import UID, CTImageStorage, EnhancedCTImageStorage, LegacyConvertedEnhancedCTImageStorage

from mose_med.errors import DataError
from mose_med.io.dicom_input import DicomFile, open_files

__all__ = [
    "ENHANCED_CT",
    "DicomFile",
    "SliceHeader",
    "ct_headers",
    "numbers",
    "open_files",
    "read_dataset",
    "silenced",
    "without_remarks",
]

#: SOP classes of which one file holds many slices.
ENHANCED_CT = (EnhancedCTImageStorage, LegacyConvertedEnhancedCTImageStorage)
_CT_CLASSES = (CTImageStorage, *ENHANCED_CT)

_LOGGER = logging.getLogger(__name__)
_KEYWORDS = (
    "SOPClassUID",
    "Modality",
    "ImageType",
    "PatientID",
    "PatientName",
    "StudyInstanceUID",
    "SeriesInstanceUID",
    "SeriesDescription",
    "FrameOfReferenceUID",
    "InstanceNumber",
    "ImagePositionPatient",
    "ImageOrientationPatient",
    "PixelSpacing",
    "Rows",
    "Columns",
    "SamplesPerPixel",
    "NumberOfFrames",
    "ConvolutionKernel",
)
_TAGS = {keyword: BaseTag(tag_for_keyword(keyword) or 0) for keyword in ("SpecificCharacterSet", *_KEYWORDS)}
_LAST_TAG = max(_TAGS.values())

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

Value = TypeVar("Value")


class SliceHeader(NamedTuple):
    """What is needed of a file before its pixels; None, or 0, where a tag is missing or not of its form."""

    file: DicomFile
    modality: str
    sop_class: str
    image_type: tuple[str, ...]
    patient: str
    study_uid: str
    series_uid: str
    series_description: str
    frame_of_reference: str
    instance_number: int
    position: tuple[float, ...] | None
    orientation: tuple[float, ...] | None
    pixel_spacing: tuple[float, ...] | None
    rows: int
    columns: int
    samples_per_pixel: int
    frames: int
    kernel: str
    frame: int = 0

    @property
    def name(self) -> str:
        """Name of the slice within the input: of its file, and of the frame where a file holds several."""
        return f"{self.file.name} frame {self.frame + 1}" if self.sop_class in ENHANCED_CT else self.file.name


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
        return _read(file, file.open, partial(pydicom.dcmread, **options))


def _read(
    file: DicomFile, open_file: Callable[[], BinaryIO], read: Callable[[BinaryIO], pydicom.Dataset]
) -> pydicom.Dataset:
    with open_file() as stream:
        try:
            return read(stream)
        except InvalidDicomError:
            raise
        except _DAMAGED as error:
            raise DataError(f"{file.name} is a damaged DICOM file ({type(error).__name__})") from error


def ct_headers(files: list[DicomFile]) -> list[SliceHeader]:
    """Headers of all CT images among the files; survey views (localizers) are left out.

    Raises:
        DataError: if there is no DICOM file, or none of CT.
    """
    headers = _headers(files)
    if not headers:
        raise DataError(f"no DICOM file among {len(files)} files: name the folder or zip of a CT study")
    found = [header for header in headers if _is_ct(header)]
    if not found:
        modalities = ", ".join(sorted({header.modality or "none" for header in headers}))
        raise DataError(f"no CT image among {len(headers)} DICOM files: Modality must be CT, got {modalities}")
    unnamed = sum(not header.modality for header in found)
    if unnamed:
        _LOGGER.warning("%d of %d files have no Modality: taken as CT by their SOP class", unnamed, len(found))
    return [header for header in found if "LOCALIZER" not in header.image_type] or found


def _headers(files: list[DicomFile]) -> list[SliceHeader]:
    """Headers of the files that are DICOM; one that was cut short is refused, since its slice would be missing."""
    headers = []
    known: dict[tuple[object, ...], Any] = {}
    with without_remarks():
        for file in files:
            try:
                header = _header(file, _read(file, file.open_head or file.open, _read_head), known)
            except InvalidDicomError:
                continue
            if not header.modality and not header.sop_class:
                raise DataError(f"{file.name} has neither Modality nor a known SOPClassUID: is the file cut short?")
            has_pixels = bool(header.rows and header.columns)
            if header.sop_class in _CT_CLASSES and not has_pixels:
                raise DataError(f"{file.name} has no Rows or Columns: is the file cut short?")
            # Scanners also store objects of Modality CT that are no images, in classes of their own.
            if PurePosixPath(file.name).name != "DICOMDIR" and (has_pixels or header.modality != "CT"):
                headers.append(header)
    if len(headers) < len(files):
        _LOGGER.info("%d of %d files are not DICOM images and were passed over", len(files) - len(headers), len(files))
    return headers


def _read_head(stream: BinaryIO) -> pydicom.Dataset:
    """No more of a file than its header needs."""
    return read_partial(stream, lambda tag, vr, length: tag > _LAST_TAG, specific_tags=list(_TAGS.values()))


def _is_ct(header: SliceHeader) -> bool:
    return header.modality == "CT" or (not header.modality and header.sop_class in _CT_CLASSES)


def _header(file: DicomFile, dataset: pydicom.Dataset, known: dict[tuple[object, ...], Any]) -> SliceHeader:
    value = partial(_value, dataset, known)
    return SliceHeader(
        file=file,
        modality=value("Modality", _text),
        sop_class=value("SOPClassUID", _known_class) or _known_class(dataset.file_meta.get("MediaStorageSOPClassUID")),
        image_type=value("ImageType", _texts),
        patient=value("PatientID", _text) or value("PatientName", _text),
        study_uid=value("StudyInstanceUID", _text),
        series_uid=value("SeriesInstanceUID", _text),
        series_description=value("SeriesDescription", _text),
        frame_of_reference=value("FrameOfReferenceUID", _text),
        instance_number=value("InstanceNumber", _integer),
        position=value("ImagePositionPatient", partial(numbers, count=3)),
        orientation=value("ImageOrientationPatient", partial(numbers, count=6)),
        pixel_spacing=value("PixelSpacing", partial(numbers, count=2)),
        rows=value("Rows", _integer),
        columns=value("Columns", _integer),
        samples_per_pixel=value("SamplesPerPixel", _integer) or 1,
        frames=value("NumberOfFrames", _integer) or 1,
        kernel="\\".join(value("ConvolutionKernel", _texts)),
    )


def _value(
    dataset: pydicom.Dataset, known: dict[tuple[object, ...], Any], keyword: str, convert: Callable[[Any], Value]
) -> Value:
    """Converted value of an element, remembered by its bytes: a series repeats most, and conversion takes time.

    ``convert`` is given None where the element is missing or not of its form.
    """
    element = dataset.get_item(_TAGS[keyword])
    if not isinstance(element, RawDataElement):
        return convert(None if element is None else element.value)
    character_set = dataset.get_item(_TAGS["SpecificCharacterSet"])
    coding = (element.VR, element.is_little_endian, str(character_set and character_set.value))
    key = (keyword, *coding, element.value)
    if key not in known:
        known[key] = convert(_decoded(dataset, element.tag))
    value: Value = known[key]
    return value


def _decoded(dataset: pydicom.Dataset, tag: BaseTag) -> Any:
    try:
        return dataset[tag].value
    except (TypeError, ValueError, KeyError, NotImplementedError, struct.error):
        return None


def _known_class(value: Any) -> str:
    """SOP class, empty unless it is one of the standard's."""
    name = _text(value)
    return "" if UID(name).name == name else name


def _text(value: Any) -> str:
    return str(value or "").strip()


def _texts(value: Any) -> tuple[str, ...]:
    return (value,) if isinstance(value, str) else tuple(value or ())


def _integer(value: Any) -> int:
    try:
        return int(value or 0)
    except (TypeError, ValueError):  # several values, for instance
        return 0


def numbers(value: Any, count: int) -> tuple[float, ...] | None:
    """An element's value as so many finite numbers; None if it is not of that form."""
    try:
        numbers = tuple(float(number) for number in value or ())
    except (TypeError, ValueError):
        return None
    return numbers if len(numbers) == count and all(map(math.isfinite, numbers)) else None
