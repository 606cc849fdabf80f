"""The series that DICOM objects are derived from: the headers of its slices in the order of k, with patient and study.

A derived object lies on the grid of its source and names the source's instances, so every slice must have its UIDs.
"""

from __future__ import annotations

import copy
import os
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from pydicom import Dataset
from pydicom.valuerep import DA, TM, DSfloat

from mose_med.errors import DataError, GeometryError, MissingDependencyError
from mose_med.geometry import grid_difference, spacing_mm
from mose_med.io.dicom.enhanced import with_frames
from mose_med.io.dicom.files import ENHANCED_CT, DicomFile, open_files, read_dataset, without_remarks
from mose_med.io.dicom.headers import SliceHeader, ct_headers
from mose_med.io.dicom.series import choose_series
from mose_med.io.dicom.stacking.stack import ordered_stack

__all__ = [
    "OBSTACLE_REMEDY",
    "REQUIRED",
    "UIDS",
    "ModelIdentity",
    "ObstacleError",
    "SourceSeries",
    "read_source_series",
    "require_highdicom",
]

_SAME_PLACE_MM = 1e-3
#: What to do about an obstacle.
OBSTACLE_REMEDY = "leave out --dicom-seg and --dicom, or add --dicom-seg-obstacle skip"

#: What a derived object must name.
UIDS = ("StudyInstanceUID", "SeriesInstanceUID", "FrameOfReferenceUID", "SOPClassUID", "SOPInstanceUID")
_OF_SLICE = [
    *UIDS,
    "ImagePositionPatient",
    "ImageOrientationPatient",
    "PixelSpacing",
    "SliceThickness",
    "Rows",
    "Columns",
]
#: What a derived object must have, though it may be empty.
REQUIRED = (
    "PatientID",
    "PatientName",
    "PatientBirthDate",
    "PatientSex",
    "AccessionNumber",
    "StudyID",
    "StudyDate",
    "StudyTime",
    "ReferringPhysicianName",
)
_SEXES = ("M", "F", "O")


class ObstacleError(DataError):
    """Headers of which no DICOM object can be made.

    Args:
        file: that has them.
        fault: of its headers, without names.

    Attributes:
        fault: without the name of the file, which may identify the patient.
    """

    def __init__(self, file: str, fault: str) -> None:
        super().__init__(f"{file} {fault}: {OBSTACLE_REMEDY}")
        self.fault = f"a slice {fault}"


class ModelIdentity(NamedTuple):
    """The model as DICOM identifies an algorithm: version of this project, and SHA-256 of the weights."""

    version: str
    weights_sha256: str


class SourceSeries(NamedTuple):
    """A CT series without its pixels.

    Attributes:
        header: of the first slice, with the modules of patient and study.
        slices: UIDs and place of every slice, in the order of k.
        affine: of the array (i, j, k), RAS mm, (4, 4).
    """

    header: Dataset
    slices: tuple[Dataset, ...]
    affine: NDArray[np.float64]

    def require_grid(self, shape: tuple[int, ...], affine: NDArray[np.floating]) -> None:
        """Check that an array of this shape and affine has one voxel for every pixel of the series.

        Raises:
            GeometryError: if it has not.
        """
        own = (self.header.Columns, self.header.Rows, len(self.slices))
        grids = (tuple(shape), affine, own, self.affine)
        difference = grid_difference(*grids, whose="the series'", tolerance_mm=_SAME_PLACE_MM)
        if difference is not None:
            raise GeometryError(
                f"a DICOM object must lie on the grid of its series: {difference}; "
                f"{OBSTACLE_REMEDY} for a series that is resampled"
            )

    def images(self, indices: Sequence[int]) -> list[Dataset]:
        """Headers of some slices, the first with patient and study: new datasets, whose elements are shared."""
        images = [copy.deepcopy(self.header), *(Dataset() for _ in indices[1:])]
        for image, index in zip(images, indices, strict=True):
            image.update(self.slices[index])
        return images


def require_highdicom() -> None:
    """Check that the package that makes DICOM objects is installed.

    Raises:
        MissingDependencyError: if it is not.
    """
    if find_spec("highdicom") is None:
        raise MissingDependencyError("highdicom", "dicom")


def read_source_series(
    path: str | os.PathLike[str], series: str | None = None, acquisition: int | None = None
) -> SourceSeries:
    """Read the headers of the series that :func:`mose_med.io.read_ct` reads with the same arguments.

    Args:
        path: DICOM folder or zip.
        series: SeriesInstanceUID to read; the one with most axial slices if None.
        acquisition: number of the acquisition to read of it; all slices if None.

    Raises:
        MissingDependencyError: if the extra ``dicom`` is not installed.
        ConfigError: if there is no such series.
        DataError: if a slice has no UID that an object made of it must name, or cannot be used.
        GeometryError: if the slices do not make a volume.
    """
    require_highdicom()
    from mose_med.io.dicom.objects.rehearsal import rehearse

    with open_files(Path(path)) as files:
        chosen = choose_series(with_frames(ct_headers(files)), series, acquisition)
        stack = ordered_stack(chosen, slice_spacing="resample", gantry_tilt="correct")
        if stack.grid is not None:
            raise GeometryError(
                f"DICOM objects lie on the source's own pixels, but its {stack.corrections[0]}: {OBSTACLE_REMEDY}"
            )
        _require_a_file_for_each(stack.slices)
        slices = tuple(_slice(header.file) for header in stack.slices)
        header = read_dataset(stack.slices[0].file, stop_before_pixels=True)
    _require_one_of_each(slices, [header.file.name for header in stack.slices])
    spacing = float(spacing_mm(stack.affine)[2])
    orientation = [DSfloat(value, auto_format=True) for value in stack.slices[0].orientation or ()]
    for dataset in slices:
        dataset.ImageOrientationPatient = orientation
        dataset.SpacingBetweenSlices = DSfloat(spacing, auto_format=True)
        if not dataset.get("SliceThickness"):
            dataset.SliceThickness = dataset.SpacingBetweenSlices
    source = SourceSeries(_completed(header), slices, stack.affine)
    rehearse(source, [header.file.name for header in stack.slices])
    return source


def _require_a_file_for_each(slices: Sequence[SliceHeader]) -> None:
    enhanced = next((header for header in slices if header.sop_class in ENHANCED_CT), None)
    if enhanced is not None:
        raise ObstacleError(enhanced.file.name, "holds many slices (enhanced CT), of which no object is made")


def _slice(file: DicomFile) -> Dataset:
    full = read_dataset(file, stop_before_pixels=True, specific_tags=_OF_SLICE)
    for keyword in UIDS:
        if not str(full.get(keyword) or "").strip():
            raise ObstacleError(file.name, f"has no {keyword}, which a DICOM object must name")
    plain = Dataset()
    plain.update({element.tag: element for element in full if element.keyword in _OF_SLICE})
    return plain


def _require_one_of_each(slices: Sequence[Dataset], names: Sequence[str]) -> None:
    first_of: dict[str, str] = {}
    for dataset, name in zip(slices, names, strict=True):
        other = first_of.setdefault(dataset.SOPInstanceUID, name)
        if other != name:
            raise ObstacleError(f"{other} and {name}", "have the same SOPInstanceUID")


def _completed(header: Dataset) -> Dataset:
    """The header with every element that derived objects must have; values that no object may have are blanked."""
    with without_remarks():
        for keyword in REQUIRED:
            if keyword not in header:
                setattr(header, keyword, "")
        if header.PatientSex not in _SEXES:
            header.PatientSex = ""
        for keyword, kind in (("PatientBirthDate", DA), ("StudyDate", DA), ("StudyTime", TM)):
            try:
                kind(header[keyword].value)
            except (TypeError, ValueError):
                setattr(header, keyword, "")
    return header
