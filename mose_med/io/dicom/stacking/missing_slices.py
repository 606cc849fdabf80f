"""Slices that are on disk but were not read: their gap is not interpolated."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import PurePosixPath

import numpy as np
from pydicom.errors import InvalidDicomError

from mose_med.errors import GeometryError
from mose_med.io.dicom.files import DicomFile, read_dataset
from mose_med.io.dicom.headers import SliceHeader
from mose_med.io.dicom.stacking.stack import plane_normal

__all__ = ["require_no_unreadable_slice"]

#: Distance of neighbours, in usual ones, from which a slice is missing between them.
_GAP = 1.5


def require_no_unreadable_slice(files: Sequence[DicomFile], slices: Sequence[SliceHeader]) -> None:
    """Refuse a series with a gap if its folder has files that are named like slices and are not DICOM.

    Where there is no gap such files are skipped, and a gap without such files is left to the options.

    Args:
        files: of the input.
        slices: of one series, each with a position.

    Raises:
        GeometryError: naming the gap and the first file.
    """
    gap = _gap(slices)
    if gap is None:
        return
    places = {(header.file.folder, _ending(header.file)) for header in slices}
    unreadable = [file.name for file in files if (file.folder, _ending(file)) in places and not _is_dicom(file)]
    if unreadable:
        others = f" and {len(unreadable) - 1} more" if len(unreadable) > 1 else ""
        raise GeometryError(
            f"slices are missing between {gap[0].name} and {gap[1].name}, and {unreadable[0]}{others} beside them "
            "cannot be read as DICOM: restore the files that are slices and remove the others"
        )


def _gap(slices: Sequence[SliceHeader]) -> tuple[SliceHeader, SliceHeader] | None:
    """Neighbours of the widest gap that slices are missing from; None if there is none."""
    if len(slices) < 3 or any(header.position is None for header in slices):
        return None
    along = np.asarray([header.position for header in slices], dtype=np.float64) @ plane_normal(slices[0])
    order = np.argsort(along)
    distances = np.diff(along[order])
    widest = int(np.argmax(distances))
    if distances[widest] <= _GAP * np.median(distances):
        return None
    return slices[order[widest]], slices[order[widest + 1]]


def _ending(file: DicomFile) -> str:
    return PurePosixPath(file.name).suffix.lower()


def _is_dicom(file: DicomFile) -> bool:
    try:
        read_dataset(file, stop_before_pixels=True, specific_tags=[])
    except InvalidDicomError:
        return False
    return True
