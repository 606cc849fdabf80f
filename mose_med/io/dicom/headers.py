"""The headers that identify CT slices and distinguish series."""

from __future__ import annotations

import logging
import re
from collections.abc import Callable
from functools import partial
from pathlib import PurePosixPath
from typing import Any, BinaryIO, NamedTuple, TypeVar

import pydicom
from pydicom.datadict import tag_for_keyword
from pydicom.dataelem import RawDataElement
from pydicom.errors import InvalidDicomError
from pydicom.filereader import read_partial
from pydicom.tag import BaseTag
from pydicom.uid import CTImageStorage

from mose_med.errors import DataError
from mose_med.io.dicom.element_values import decoded, direction_cosines, integer, known_class, numbers, text, texts
from mose_med.io.dicom.files import ENHANCED_CT, DicomFile, read_opened, without_remarks
from mose_med.io.volumes import is_volume

__all__ = ["SliceHeader", "ct_headers"]

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
    "AcquisitionNumber",
    "AcquisitionDateTime",
    "AcquisitionDate",
    "AcquisitionTime",
    "InstanceNumber",
    "ImagePositionPatient",
    "ImageOrientationPatient",
    "PixelSpacing",
    "Rows",
    "Columns",
    "SamplesPerPixel",
    "NumberOfFrames",
    "ConvolutionKernel",
    "RescaleIntercept",
    "RescaleSlope",
)
_TAGS = {keyword: BaseTag(tag_for_keyword(keyword) or 0) for keyword in ("SpecificCharacterSet", *_KEYWORDS)}
_LAST_TAG = max(_TAGS.values())

#: Endings that say that a file is DICOM.
_DICOM_NAME = re.compile(r"(?!\._).*\.(dcm|dicom|ima)", re.IGNORECASE)

Value = TypeVar("Value")


class SliceHeader(NamedTuple):
    """The header values that are needed before the pixels; None, or 0, if a tag is missing or malformed."""

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
    acquisition_number: int = 0
    acquisition_time: str = ""
    has_rescaling: bool = True
    frame: int = 0

    @property
    def name(self) -> str:
        """Name of the slice within the input: of its file, and of the frame where a file holds several."""
        return f"{self.file.name} frame {self.frame + 1}" if self.sop_class in ENHANCED_CT else self.file.name


def ct_headers(files: list[DicomFile]) -> list[SliceHeader]:
    """Headers of all CT images among the files; survey views (localizers) are left out.

    Raises:
        DataError: if there is no DICOM file, or none of CT.
    """
    headers = _headers(files)
    if not headers:
        volumes = [file.name for file in files if is_volume(file.name)]
        found_instead = f"; {volumes[0]} can be named itself, or all with --input-dir of infer" if volumes else ""
        raise DataError(f"no DICOM file among {len(files)} files: name the folder or zip of a CT study{found_instead}")
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
    others: list[DicomFile] = []
    known: dict[tuple[object, ...], Any] = {}
    with without_remarks():
        for file in files:
            try:
                header = _header(file, read_opened(file, file.open_head or file.open, _read_head), known)
            except InvalidDicomError:
                others.append(file)
                continue
            if not header.modality and not header.sop_class:
                raise DataError(f"{file.name} has neither Modality nor a known SOPClassUID: is the file cut short?")
            has_pixels = bool(header.rows and header.columns)
            if header.sop_class in _CT_CLASSES and not has_pixels:
                raise DataError(f"{file.name} has no Rows or Columns: is the file cut short?")
            # Scanners also store objects of Modality CT that are not images, in their own classes.
            if _own_name(file) != "DICOMDIR" and (has_pixels or header.modality != "CT"):
                headers.append(header)
    if headers:
        _require_no_lost_slice(others, headers)
    if len(headers) < len(files):
        _LOGGER.info("%d of %d files are not DICOM images and were skipped", len(files) - len(headers), len(files))
    return headers


def _require_no_lost_slice(others: list[DicomFile], headers: list[SliceHeader]) -> None:
    """Refuse files that are named like DICOM files and are not."""
    patterns = {_pattern(header.file) for header in headers}
    lost = next((f for f in others if _DICOM_NAME.fullmatch(_own_name(f)) or _pattern(f) in patterns), None)
    if lost is not None:
        raise DataError(
            f"{lost.name} is named like a DICOM file but is not one: copy it again, or remove it if it is not a slice"
        )


def _own_name(file: DicomFile) -> str:
    return PurePosixPath(file.name).name


def _pattern(file: DicomFile) -> str:
    """Folder and name of a file with all its numbers replaced, which files of one series share."""
    return f"{file.folder}/{re.sub(r'[0-9]+', '0', _own_name(file))}"


def _read_head(stream: BinaryIO) -> pydicom.Dataset:
    """Read only as much of a file as its header needs."""
    return read_partial(stream, lambda tag, vr, length: tag > _LAST_TAG, specific_tags=list(_TAGS.values()))


def _is_ct(header: SliceHeader) -> bool:
    return header.modality == "CT" or (not header.modality and header.sop_class in _CT_CLASSES)


def _header(file: DicomFile, dataset: pydicom.Dataset, known: dict[tuple[object, ...], Any]) -> SliceHeader:
    value = partial(_value, dataset, known)
    return SliceHeader(
        file=file,
        modality=value("Modality", text),
        sop_class=value("SOPClassUID", known_class) or known_class(dataset.file_meta.get("MediaStorageSOPClassUID")),
        image_type=value("ImageType", texts),
        patient=value("PatientID", text) or value("PatientName", text),
        study_uid=value("StudyInstanceUID", text),
        series_uid=value("SeriesInstanceUID", text),
        series_description=value("SeriesDescription", text),
        frame_of_reference=value("FrameOfReferenceUID", text),
        instance_number=value("InstanceNumber", integer),
        position=value("ImagePositionPatient", partial(numbers, count=3)),
        orientation=value("ImageOrientationPatient", direction_cosines),
        pixel_spacing=value("PixelSpacing", partial(numbers, count=2)),
        rows=value("Rows", integer),
        columns=value("Columns", integer),
        samples_per_pixel=value("SamplesPerPixel", integer) or 1,
        frames=value("NumberOfFrames", integer) or 1,
        kernel="\\".join(value("ConvolutionKernel", texts)),
        acquisition_number=value("AcquisitionNumber", integer),
        acquisition_time=value("AcquisitionDateTime", text)
        or value("AcquisitionDate", text) + value("AcquisitionTime", text),
        has_rescaling=any(_is_given(dataset, keyword) for keyword in ("RescaleSlope", "RescaleIntercept")),
    )


def _value(
    dataset: pydicom.Dataset, known: dict[tuple[object, ...], Any], keyword: str, convert: Callable[[Any], Value]
) -> Value:
    """Converted value of an element, cached by its bytes: a series repeats most, and conversion takes time.

    ``convert`` is given None where the element is missing or not of its form.
    """
    element = dataset.get_item(_TAGS[keyword])
    if not isinstance(element, RawDataElement):
        return convert(None if element is None else element.value)
    character_set = dataset.get_item(_TAGS["SpecificCharacterSet"])
    coding = (element.VR, element.is_little_endian, str(character_set and character_set.value))
    key = (keyword, *coding, element.value)
    if key not in known:
        known[key] = convert(decoded(dataset, element.tag))
    value: Value = known[key]
    return value


def _is_given(dataset: pydicom.Dataset, keyword: str) -> bool:
    """Whether an element is there and not empty, even if malformed."""
    element = dataset.get_item(_TAGS[keyword])
    return element is not None and element.value is not None and bool(str(element.value).strip("b' "))
