"""Checks before inference whether DICOM objects can be made of a series, by making them without pixels.

The fault is located by leaving out one element of the headers after the other. Values are never shown: they may
identify the patient.
"""

from __future__ import annotations

import copy
import struct
from collections.abc import Iterator, Sequence
from io import BytesIO

import highdicom as hd
from pydicom import Dataset
from pydicom.charset import python_encoding
from pydicom.uid import CTImageStorage

from mose_med.io.dicom.files import silenced, without_remarks
from mose_med.io.dicom.objects.common import NODULE, CaseObjects
from mose_med.io.dicom.objects.seg.writing import binary_frames
from mose_med.io.dicom.objects.sr import report_of_groups
from mose_med.io.dicom.source import REQUIRED, UIDS, ModelIdentity, ObstacleError, SourceSeries

__all__ = ["HEADER_FAULTS", "rehearse"]

#: Errors of highdicom and pydicom for invalid headers.
HEADER_FAULTS = (AttributeError, LookupError, OverflowError, TypeError, ValueError, struct.error)
_MODEL = ModelIdentity("0", "0" * 64)
_OWN = ("SOPInstanceUID", "ImagePositionPatient")
#: Valid values of elements that every slice must have.
_PLAIN = dict.fromkeys(UIDS, "1.2.3") | {"SOPClassUID": CTImageStorage}


def rehearse(source: SourceSeries, names: Sequence[str]) -> None:
    """Make the objects of a series without pixels.

    Args:
        source: to derive them from.
        names: of the files of its slices.

    Raises:
        ObstacleError: if they cannot be made, naming element and file.
    """
    stated = source.header.get("SpecificCharacterSet") or ""
    character_sets = {stated} if isinstance(stated, str) else {*stated}
    if not character_sets <= python_encoding.keys():
        raise ObstacleError(names[0], "has a SpecificCharacterSet that DICOM does not define")
    alike = {_kind(image): n for n, image in reversed(list(enumerate(source.slices)))}
    tried = sorted(alike.values())
    few = source._replace(slices=tuple(source.slices[n] for n in tried))
    error = _fault(few)
    if error is not None:
        raise _obstacle(few, [names[n] for n in tried], error)


def _kind(image: Dataset) -> tuple[str, ...]:
    """The attributes of a slice except its name and position: one slice of each kind is tried."""
    return tuple(str(element) for element in image if element.keyword not in _OWN)


def _fault(source: SourceSeries) -> Exception | None:
    """The reason why the objects cannot be made."""
    objects = CaseObjects(source, _MODEL, "rehearsal")
    try:
        with without_remarks(), silenced("highdicom"):
            segmentation = binary_frames({"Consensus": range(len(source.slices))}, objects)
            for dataset in (segmentation, report_of_groups([_group(objects)], segmentation, objects)):
                dataset.save_as(BytesIO(), enforce_file_format=True)
    except HEADER_FAULTS as error:
        return error
    return None


def _group(objects: CaseObjects) -> hd.sr.MeasurementsAndQualitativeEvaluations:
    image = objects.source.slices[0]
    return hd.sr.MeasurementsAndQualitativeEvaluations(
        tracking_identifier=hd.sr.TrackingIdentifier(uid=objects.uid("lesion"), identifier="lesion"),
        finding_type=NODULE,
        source_images=[hd.sr.SourceImageForMeasurementGroup(image.SOPClassUID, image.SOPInstanceUID)],
    )


def _obstacle(source: SourceSeries, names: Sequence[str], error: Exception) -> ObstacleError:
    """The first slice, and the element of it, without which there is no fault."""
    for image, name in zip(source.slices, names, strict=True):
        alone = SourceSeries(source.header, (image,), source.affine)
        if _fault(alone) is None:
            continue
        for keyword, changed in _without_one_element(alone):
            if _fault(changed) is None:
                return ObstacleError(name, f"has a {keyword} that is not valid in a DICOM object")
        return ObstacleError(name, f"has headers that DICOM objects cannot use ({type(error).__name__})")
    return ObstacleError(names[0], f"and the others cannot be used together in DICOM objects ({type(error).__name__})")


def _without_one_element(source: SourceSeries) -> Iterator[tuple[str, SourceSeries]]:
    """Keyword of one element after the other, and the series without it or with a plain value of it."""
    (image,) = source.slices
    for element in [*image, *source.header]:
        header, changed = copy.deepcopy(source.header), copy.deepcopy(image)
        for dataset in (header, changed):
            if element.tag in dataset:
                del dataset[element.tag]
        if element.keyword in _PLAIN:
            setattr(changed, element.keyword, _PLAIN[element.keyword])
        elif element.keyword in REQUIRED:
            setattr(header, element.keyword, "")
        yield element.keyword or str(element.tag), SourceSeries(header, (changed,), source.affine)
