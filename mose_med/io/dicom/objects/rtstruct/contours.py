"""Structure sets (RTSTRUCT) read: the contours of each region of interest."""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pydicom
from numpy.typing import NDArray
from pydicom.uid import RTStructureSetStorage

from mose_med.errors import DataError

__all__ = ["CLOSED", "EXTERNAL", "Contour", "Roi", "read_rois"]

#: Types of contours that enclose an area.
CLOSED = ("CLOSED_PLANAR", "CLOSEDPLANAR_XOR")
#: Type of the region that is the outline of the body.
EXTERNAL = "EXTERNAL"


class Contour(NamedTuple):
    """A contour: its ContourGeometricType, and its points (n, 3) in RAS mm."""

    kind: str
    points_mm: NDArray[np.float64]


class Roi(NamedTuple):
    """A region of interest.

    Attributes:
        number: ROINumber.
        name: ROIName, empty where there is none.
        kind: RTROIInterpretedType, such as EXTERNAL; empty where it is not said.
        contours: in the order of the object.
    """

    number: int
    name: str
    kind: str
    contours: tuple[Contour, ...]


def read_rois(dataset: pydicom.Dataset, path: Path) -> list[Roi]:
    """The regions of a structure set that have a contour.

    Raises:
        DataError: if the object is not a structure set, or a region or a contour cannot be used.
    """
    sop_class = dataset.get("SOPClassUID", "none")
    if sop_class != RTStructureSetStorage:
        raise DataError(f"{path} must be an RT structure set, got SOP class {sop_class}")
    try:
        names = {int(item.ROINumber): item.get("ROIName") for item in dataset.get("StructureSetROISequence") or ()}
        kinds = {
            int(item.ReferencedROINumber): item.get("RTROIInterpretedType")
            for item in dataset.get("RTROIObservationsSequence") or ()
        }
        drawn = {int(item.ReferencedROINumber): item for item in dataset.get("ROIContourSequence") or ()}
    except (AttributeError, TypeError, ValueError) as error:
        raise DataError(f"{path} has a region without a usable number ({type(error).__name__})") from error
    return [
        Roi(number, _text(names.get(number)), _text(kinds.get(number)).upper(), contours)
        for number, item in drawn.items()
        if (contours := tuple(_contour(one, number, path) for one in item.get("ContourSequence") or ()))
    ]


def _text(value: Any) -> str:
    return "" if value is None else str(value).strip()


def _contour(item: pydicom.Dataset, number: int, path: Path) -> Contour:
    values = np.asarray(item.get("ContourData") or [], dtype=object)
    try:
        points = values.astype(np.float64).reshape(-1, 3)
    except ValueError:
        points = np.empty((0, 3))
    if not points.size or not np.isfinite(points).all():
        raise DataError(f"{path}: region {number} has a contour without usable ContourData")
    return Contour(_text(item.get("ContourGeometricType")) or CLOSED[0], points * (-1.0, -1.0, 1.0))
