"""The structure set of a case: outlines of likely voxels.

Three regions: ``Consensus``, where the marginal probability is above one half (``consensus.nii.gz``), and ``Probability
5 %`` and ``Probability 95 %``, where it is at least that. Outlines run along the edges of voxels
(:mod:`mose_med.io.dicom.objects.rtstruct.outlines`), so that volumes are those of the masks. With several foreground
classes, each class has its own three: ``Consensus vessel``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from pydicom import Dataset
from pydicom.uid import RTStructureSetStorage

from mose_med.case_contents.maps import class_marks, of_class
from mose_med.geometry import LPS_TO_RAS, index_to_mm
from mose_med.inferers import CaseDistribution
from mose_med.io.dicom.objects.common import CaseObjects, without_run_traces
from mose_med.io.dicom.objects.rtstruct.outlines import outlines
from mose_med.io.dicom.objects.seg.segments import planes_of

__all__ = ["structure_set"]

_STUDY_CLASS = "1.2.840.10008.3.1.2.3.1"


class _Level(NamedTuple):
    """A region: its name, what it holds, and the colour that it is shown in."""

    name: str
    holds: Callable[[NDArray[np.floating]], NDArray[np.bool_]]
    colour: tuple[int, int, int]


_LEVELS = (
    _Level("Consensus", lambda probability: probability > 0.5, (255, 255, 0)),
    _Level("Probability 5 %", lambda probability: probability >= 0.05, (0, 160, 255)),
    _Level("Probability 95 %", lambda probability: probability >= 0.95, (255, 64, 64)),
)


def structure_set(distribution: CaseDistribution, objects: CaseObjects) -> Dataset | None:
    """The structure set of a case; None if no voxel is in any region."""
    contours: dict[str, list[Dataset]] = {}
    drawn: list[_Level] = []
    for mark in class_marks(distribution.classes):
        levels = [level._replace(name=f"{level.name} {mark}".rstrip()) for level in _LEVELS]
        contours |= {level.name: [] for level in levels}
        for k, plane in planes_of(distribution, of_class("probability", mark)):
            for level in levels:
                contours[level.name] += _contours(level.holds(plane), k, objects)
        drawn += [level for level in levels if contours[level.name]]
    if not drawn:
        return None
    header = objects.header("structures")
    date, time = header.pop("content_date"), header.pop("content_time")
    structures = objects.object_without_images(RTStructureSetStorage, "RTSTRUCT", "MoSE contours", header)
    structures.StructureSetLabel = "MoSE"
    structures.StructureSetDate, structures.StructureSetTime = date, time
    structures.ApprovalStatus = "UNAPPROVED"
    structures.OperatorsName = structures.Laterality = ""
    structures.FrameOfReferenceUID = objects.source.slices[0].FrameOfReferenceUID
    structures.PositionReferenceIndicator = ""
    structures.ReferencedFrameOfReferenceSequence = [_frame_of_reference(objects)]
    numbered = list(enumerate(drawn, start=1))
    structures.StructureSetROISequence = [_region(number, level, objects) for number, level in numbered]
    structures.ROIContourSequence = [
        _item(ROIDisplayColor=list(level.colour), ReferencedROINumber=number, ContourSequence=contours[level.name])
        for number, level in numbered
    ]
    structures.RTROIObservationsSequence = [
        _item(ObservationNumber=number, ReferencedROINumber=number, RTROIInterpretedType="", ROIInterpreter="")
        for number, _ in numbered
    ]
    without_run_traces(structures, "")
    return structures


def _contours(mask: NDArray[np.bool_], k: int, objects: CaseObjects) -> Iterator[Dataset]:
    """Contours of a mask (row, column) on the slice k."""
    if not mask.any():
        return
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    window = mask[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    for outline in outlines(window):
        row, column = outline.T
        indices = np.stack([column + columns[0], row + rows[0], np.full_like(row, k)], axis=1)
        points = index_to_mm(LPS_TO_RAS @ objects.source.affine, indices)
        yield _item(
            ContourImageSequence=[_instance(objects.source.slices[k])],
            ContourGeometricType="CLOSED_PLANAR",
            NumberOfContourPoints=len(points),
            ContourData=[f"{value:.4f}" for value in points.ravel().tolist()],
        )


def _region(number: int, level: _Level, objects: CaseObjects) -> Dataset:
    return _item(
        ROINumber=number,
        ReferencedFrameOfReferenceUID=objects.source.slices[0].FrameOfReferenceUID,
        ROIName=level.name,
        ROIGenerationAlgorithm="AUTOMATIC",
    )


def _frame_of_reference(objects: CaseObjects) -> Dataset:
    """The series that the contours lie on, slice by slice."""
    slices = objects.source.slices
    series = _item(
        SeriesInstanceUID=slices[0].SeriesInstanceUID,
        ContourImageSequence=[_instance(image) for image in slices],
    )
    study = _item(
        ReferencedSOPClassUID=_STUDY_CLASS,
        ReferencedSOPInstanceUID=slices[0].StudyInstanceUID,
        RTReferencedSeriesSequence=[series],
    )
    return _item(FrameOfReferenceUID=slices[0].FrameOfReferenceUID, RTReferencedStudySequence=[study])


def _instance(image: Dataset) -> Dataset:
    return _item(ReferencedSOPClassUID=image.SOPClassUID, ReferencedSOPInstanceUID=image.SOPInstanceUID)


def _item(**elements: str | int | Sequence[Any]) -> Dataset:
    item = Dataset()
    for keyword, value in elements.items():
        setattr(item, keyword, value)
    return item
