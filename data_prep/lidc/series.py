"""CT series of LIDC-IDRI on disk: found by their UID in any folder layout, ordered by z, read in HU.

A series may be partial: only slices that are there are listed. Images are handed out as (i, j), i to the patient's left
and j to posterior, for any stored order of the slices.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import astuple, dataclass, replace
from pathlib import Path
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from mose_med.errors import DataError
from mose_med.files.file_tree import FolderWalk
from mose_med.geometry import Affine
from mose_med.io.dicom.files import open_files
from mose_med.io.dicom.headers import SliceHeader, ct_headers
from mose_med.io.dicom.read import slice_hu
from mose_med.io.padding import without_padding

__all__ = ["PHANTOM_DESCRIPTION", "Grid", "Series", "SliceFile", "find_series"]

Scalar = TypeVar("Scalar", bound=np.generic)

logger = logging.getLogger(__name__)

#: SeriesDescription of rendered series, which are never to be taken for a patient's.
PHANTOM_DESCRIPTION = "PHANTOM"

#: Positions that are closer than this, in mm, are the same.
_SAME_POSITION_MM = 1e-3

#: Direction cosines of rows and columns across the patient, in either direction.
_AXIAL = (1, 0, 0, 0, 1, 0)
_AXIAL_TOLERANCE = 1e-3

#: Gantries tilt by up to 30 degrees; more is another plane.
_LARGEST_TILT_DEGREES = 35.0


@dataclass(frozen=True)
class SliceFile:
    """One slice on disk."""

    header: SliceHeader
    z_mm: float


@dataclass(frozen=True)
class Grid:
    """In-plane geometry, the same for all slices of a series, as DICOM states it (LPS, mm)."""

    rows: int
    cols: int
    row_spacing_mm: float
    col_spacing_mm: float
    x_mm: float
    y_mm: float
    flip_i: bool
    flip_j: bool


@dataclass(frozen=True)
class Series:
    """Slices of one CT series, by ascending z, no z twice.

    Attributes:
        is_phantom: whether its voxels were rendered by :mod:`data_prep.phantom`.
        num_duplicates: files left out because another slice has the same z.
    """

    patient_id: str
    series_uid: str
    is_phantom: bool
    grid: Grid
    slices: tuple[SliceFile, ...]
    num_duplicates: int

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns of every slice, as stored."""
        return self.grid.rows, self.grid.cols

    def nearest(self, z_mm: float, within_mm: float) -> SliceFile | None:
        """The slice closest to a position; None if none is within ``within_mm``."""
        closest = min(self.slices, key=lambda slice_file: abs(slice_file.z_mm - z_mm))
        return closest if abs(closest.z_mm - z_mm) <= within_mm else None

    def oriented(self, array: NDArray[Scalar]) -> NDArray[Scalar]:
        """View of a stored (row, col) slice or mask as (i, j) in LPS orientation."""
        steps = (slice(None, None, -1 if self.grid.flip_i else 1), slice(None, None, -1 if self.grid.flip_j else 1))
        return array.T[steps]

    def oriented_point(self, row: float, col: float) -> tuple[float, float]:
        """Index (i, j) of a stored (row, col)."""
        i = self.grid.cols - 1 - col if self.grid.flip_i else col
        j = self.grid.rows - 1 - row if self.grid.flip_j else row
        return i, j

    def stored_indices(
        self, i: NDArray[np.floating], j: NDArray[np.floating]
    ) -> tuple[NDArray[np.floating], NDArray[np.floating]]:
        """Stored row and column of indices j and i: the inverse of :meth:`oriented_point`, for whole axes."""
        rows = self.grid.rows - 1 - j if self.grid.flip_j else j
        cols = self.grid.cols - 1 - i if self.grid.flip_i else i
        return rows, cols

    def affine(self, first_z_mm: float, slice_spacing_mm: float) -> Affine:
        """RAS-mm affine of oriented slices that begin at ``first_z_mm``."""
        grid = self.grid
        left = grid.x_mm - (grid.cols - 1) * grid.col_spacing_mm if grid.flip_i else grid.x_mm
        front = grid.y_mm - (grid.rows - 1) * grid.row_spacing_mm if grid.flip_j else grid.y_mm
        affine = np.diag([-grid.col_spacing_mm, -grid.row_spacing_mm, slice_spacing_mm, 1.0])
        affine[:3, 3] = (-left, -front, first_z_mm)
        return affine

    def read_hu(self, slice_file: SliceFile) -> NDArray[np.int16]:
        """One slice in HU, oriented, rounded to whole numbers; air outside the field of view, as inference sees it.

        Raises:
            DataError: if the pixels cannot be read.
        """
        try:
            hu = slice_hu(slice_file.header)
        except DataError as error:
            raise DataError(f"{self.patient_id}: {error}") from error
        limits = np.iinfo(np.int16)
        inside, _ = without_padding(np.rint(hu, out=hu))
        return self.oriented(inside.clip(limits.min, limits.max).astype(np.int16))


def find_series(patient_id: str, folders: Sequence[Path], series_uid: str) -> Series | None:
    """Find the CT slices of one series anywhere below a patient's folders.

    Other series (a chest X-ray beside the CT, for instance) and files that are not DICOM are passed over. Where two
    slices share a z, the one of lower instance number is kept, as pylidc does.

    Returns:
        The series, or None if no CT image below the folders belongs to it.

    Raises:
        DataError: if there is no CT image at all, or the series is not axial or its slices do not lie on one grid.
    """
    try:
        headers = _headers(folders, series_uid)
        if not headers:
            return None
        grid = _common_grid(headers)
    except DataError as error:
        raise DataError(f"{patient_id}: {error}") from error
    slices = _without_duplicates(headers, patient_id)
    return Series(
        patient_id=patient_id,
        series_uid=series_uid,
        is_phantom=headers[0].series_description == PHANTOM_DESCRIPTION,
        grid=grid,
        slices=slices,
        num_duplicates=len(headers) - len(slices),
    )


def _headers(folders: Sequence[Path], series_uid: str) -> list[SliceHeader]:
    """Headers of the series: of the files below folders of its name if there are any, else below the patient's."""
    named = sorted({path for folder in folders for path in _named_folders(folder, series_uid)})
    with ExitStack() as stack:
        files = [file for folder in named or folders for file in stack.enter_context(open_files(folder))]
        return [header for header in ct_headers(files) if header.series_uid == series_uid]


def _named_folders(folder: Path, series_uid: str) -> Iterator[Path]:
    """The uppermost folders of a series' name, the given one or below it."""
    walk = FolderWalk(str(folder), hidden=True)
    for current in walk:
        if current.path.endswith(series_uid):
            yield Path(current.path)
        else:
            walk.add_folders(current)


def _common_grid(headers: list[SliceHeader]) -> Grid:
    first = _grid(headers[0])
    for header in headers:
        grid = _grid(header)
        if grid == first:
            continue
        if max(abs(a - b) for a, b in zip(astuple(grid), astuple(first), strict=True)) > _SAME_POSITION_MM:
            sheared = replace(grid, x_mm=first.x_mm, y_mm=first.y_mm) == first
            reason = " (slices pushed sideways, as gantry tilt does)" if sheared else ""
            names = f"{header.file.name} and {headers[0].file.name}"
            raise DataError(f"{names} of one series differ in size, spacing or position{reason}")
    return first


def _grid(header: SliceHeader) -> Grid:
    position, cosines, spacing = header.position, header.orientation, header.pixel_spacing
    if position is None or cosines is None or spacing is None:
        missing = "position" if position is None else "orientation" if cosines is None else "pixel spacing"
        raise DataError(f"{header.file.name} has no usable {missing}: contours cannot be placed")
    if max(abs(abs(cosine) - axis) for cosine, axis in zip(cosines, _AXIAL, strict=True)) > _AXIAL_TOLERANCE:
        raise DataError(
            f"{header.file.name} must be axial, got ImageOrientationPatient {list(cosines)}{_tilt(cosines)}"
        )
    return Grid(
        rows=header.rows,
        cols=header.columns,
        row_spacing_mm=spacing[0],
        col_spacing_mm=spacing[1],
        x_mm=position[0],
        y_mm=position[1],
        flip_i=cosines[0] < 0,
        flip_j=cosines[4] < 0,
    )


def _tilt(cosines: tuple[float, ...]) -> str:
    """Words for a slice that lies across the patient, but is tilted; empty for a sagittal or coronal one."""
    normal_z = cosines[0] * cosines[4] - cosines[1] * cosines[3]
    degrees = math.degrees(math.acos(min(abs(normal_z), 1.0)))
    return f" (gantry tilt of {degrees:.1f} degrees)" if degrees < _LARGEST_TILT_DEGREES else ""


def _without_duplicates(headers: list[SliceHeader], patient_id: str) -> tuple[SliceFile, ...]:
    slices = [SliceFile(header, header.position[2]) for header in headers if header.position is not None]
    kept: list[SliceFile] = []
    for slice_file in sorted(slices, key=lambda s: (s.z_mm, s.header.instance_number)):
        if kept and slice_file.z_mm - kept[-1].z_mm < _SAME_POSITION_MM:
            logger.warning("%s: two slices at z = %g mm, kept the lower instance number", patient_id, kept[-1].z_mm)
        else:
            kept.append(slice_file)
    return tuple(kept)
