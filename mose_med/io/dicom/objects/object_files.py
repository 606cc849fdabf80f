"""DICOM objects that lie in a file of their own, and the series that they were drawn on."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pydicom
from pydicom.errors import InvalidDicomError

from mose_med.errors import DataError, no_file
from mose_med.io.dicom.files import DicomFile, read_dataset

__all__ = ["DrawnOn", "drawn_on", "read_object", "require_drawn_on"]

_LOGGER = logging.getLogger(__name__)


class DrawnOn(NamedTuple):
    """The series and frames of reference that an object was drawn on; empty if it names none."""

    series: frozenset[str]
    frames_of_reference: frozenset[str]


def read_object(path: Path, *, stop_before_pixels: bool = False) -> pydicom.Dataset:
    """Read an object.

    Raises:
        DataError: if the file is missing, damaged or not DICOM.
    """
    if not path.is_file():
        raise DataError(no_file(path))
    file = DicomFile(str(path), lambda: path.open("rb"))
    try:
        return read_dataset(file, stop_before_pixels=stop_before_pixels)
    except InvalidDicomError as error:
        raise DataError(f"{path} is not a DICOM file") from error


def drawn_on(dataset: pydicom.Dataset) -> DrawnOn:
    """The series that a SEG or an RTSTRUCT refers to."""
    frames = {str(dataset.get("FrameOfReferenceUID") or "")}
    series = {str(item.get("SeriesInstanceUID") or "") for item in dataset.get("ReferencedSeriesSequence") or ()}
    for frame in dataset.get("ReferencedFrameOfReferenceSequence") or ():
        frames.add(str(frame.get("FrameOfReferenceUID") or ""))
        series |= set(_series_of(frame))
    return DrawnOn(frozenset(series - {""}), frozenset(frames - {""}))


def require_drawn_on(path: Path, what: str, series_uid: str, frame_of_reference: str) -> None:
    """Check that an object was drawn on a series, or at least in its coordinates.

    An object that refers to another series of the same frame of reference uses the same coordinates: a warning
    is given. One without a reference is accepted, and so is any if the image has no series.

    Args:
        path: of the object.
        what: it is, for messages.
        series_uid: SeriesInstanceUID of the image; empty if it has none.
        frame_of_reference: FrameOfReferenceUID of the image; empty if it has none.

    Raises:
        DataError: if it was drawn on another series, in other coordinates.
    """
    on = drawn_on(read_object(path, stop_before_pixels=True))
    if not series_uid or not on.series or series_uid in on.series:
        return
    if frame_of_reference and frame_of_reference in on.frames_of_reference:
        _LOGGER.warning("the %s was drawn on another series of the same frame of reference", what)
        return
    raise DataError(f"{what} {path} was drawn on another series, in other coordinates: name its own with --series")


def _series_of(frame: pydicom.Dataset) -> Iterator[str]:
    for study in frame.get("RTReferencedStudySequence") or ():
        for item in study.get("RTReferencedSeriesSequence") or ():
            yield str(item.get("SeriesInstanceUID") or "")
