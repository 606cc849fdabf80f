"""The read stage: everything that a case names, read and checked before anything is written.

An option that changes how an input is read is a field of ``ResultOptions`` and is passed on here.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from mose_med.api.options import ResultOptions
from mose_med.case_contents.provenance import image_sha256
from mose_med.errors import DataError, GeometryError
from mose_med.files.hashes import file_sha256
from mose_med.geometry import axial_fault
from mose_med.inferers import require_inside
from mose_med.io import Nodule, ReadingOptions, Study, read_mask, read_nodules, read_study, require_own_series
from mose_med.io.channels import read_channels
from mose_med.io.nodules.boxes import image_name
from mose_med.io.study import require_place

if TYPE_CHECKING:
    from mose_med.io.dicom.source import SourceSeries

__all__ = ["CaseInput", "CaseRequest", "read_case", "with_objects_source"]

_LOGGER = logging.getLogger(__name__)
#: Every CT has voxels below: fat has about -100 HU.
_FAT_HU = -50.0
_NONE_LISTED = "none listed"


@dataclass(frozen=True)
class CaseRequest:
    """One case to infer; small and picklable, so that another process or machine can do it.

    Attributes:
        source: DICOM folder or zip, or NIfTI, NRRD or MetaImage file; for an image in memory, a name for messages.
        nodules: list of positions in any of its forms; None searches the region that the options name.
        series: SeriesInstanceUID to read, or the number of the series; the first if None.
        options: what decides the result.
        acquisition: of the series to read; all its slices if None.
        channels: files of the channels after the first.
        case: name of the case; None names it by a keyed hash of its identity.
        lung_mask: where the lungs are; found by threshold if None.
        origin: where the study is from, for those who may know; its path if None.
    """

    source: Path
    nodules: Path | None
    series: str | None
    options: ResultOptions
    case: str | None = None
    lung_mask: Path | None = None
    origin: str | None = None
    acquisition: int | None = None
    channels: tuple[Path, ...] = ()

    def told_origin(self) -> str:
        """Where the study is from."""
        return self.origin or str(self.source.absolute())


class CaseInput(NamedTuple):
    """The inputs of a case; without nodules (None) a region is searched, the lungs perhaps by a mask (i, j, k).

    ``series`` is set if DICOM objects are to be made, ``obstacle`` if they were requested but cannot be made: the
    reason, without names. ``acquisition`` is set if one was named.
    """

    study: Study
    nodules: list[Nodule] | None
    input_sha256: str
    lungs: NDArray[np.bool_] | None = None
    lung_mask_sha256: str | None = None
    series: SourceSeries | None = None
    acquisition: int | None = None
    obstacle: str = ""

    @property
    def identity(self) -> str:
        """Identity of the case: its series and acquisition, or its content if it has no series UID."""
        series = self.study.source.series_uid
        if series and self.acquisition is not None:
            return f"{series} acquisition {self.acquisition}"
        return series or self.input_sha256

    def request(self) -> dict[str, Any]:
        """The request of this case, for its provenance."""
        return {
            "input_sha256": self.input_sha256,
            "nodules": self._listed(),
            "lung_mask_sha256": self.lung_mask_sha256,
        }

    def _listed(self) -> list[dict[str, Any]] | str:
        """Nodules of the list; an empty list is recorded in words, since ``[]`` means a search."""
        if self.nodules is not None and not self.nodules:
            return _NONE_LISTED
        return [{"nodule_id": n.nodule_id, "position_ras_mm": list(n.position_mm)} for n in self.nodules or ()]


def read_case(
    request: CaseRequest,
    *,
    study: Study | None = None,
    nodules: Sequence[Nodule] | None = None,
    num_channels: int = 1,
    in_hu: bool = False,
) -> CaseInput:
    """Read the nodule list, the study and the lung mask, and check that they match.

    Args:
        request: what to read.
        study: that is in memory, instead of the one that is named.
        nodules: likewise.
        num_channels: of the network; of one alone, a study with a fourth axis is refused as one that is not 3D.
        in_hu: warn of values that can hardly be HU, since the network takes HU.

    Raises:
        ConfigError: if the series is not there.
        DataError: if the study or the nodule list cannot be used, or a position lies outside.
        GeometryError: if the geometry of the study or the grid of the lung mask does not fit.
    """
    listed = _listed(request) if nodules is None else list(nodules)
    if study is None:
        study = _study(request, num_channels)
    if len(study.image.tensor) != num_channels:
        have, wanted = (f"{number} channel{'s' * (number > 1)}" for number in (len(study.image.tensor), num_channels))
        raise DataError(f"{request.source} has {have}, the network takes {wanted}")
    if in_hu:
        _warn_unless_hu(study)
    if study.source.format != "dicom":
        _warn_unless_axial(study)
    if listed:
        if request.nodules is not None and nodules is None:
            require_own_series(request.nodules, study.source)
        require_place(str(request.source), study.no_place)
        require_inside(study.image, [nodule.position_mm for nodule in listed])
    read = CaseInput(study, listed, image_sha256(study.image), acquisition=request.acquisition)
    read = with_objects_source(request, read)
    if request.lung_mask is None:
        return read
    return read._replace(
        lungs=read_mask(request.lung_mask, study.image, request.options.nifti_transform),
        lung_mask_sha256=file_sha256(request.lung_mask),
    )


def _warn_unless_hu(study: Study) -> None:
    """Warn of a CT without a voxel of fat or air: values scaled to 0 to 1, or with 1024 added."""
    values = study.image.tensor
    least, greatest = float(values.min()), float(values.max())
    if least > _FAT_HU:
        _LOGGER.warning(
            "no voxel of the image is below %g, as fat and air are in HU (values from %g to %g): if it is not in HU, "
            "the result is wrong",
            _FAT_HU,
            least,
            greatest,
        )


def _warn_unless_axial(study: Study) -> None:
    """Warn of a volume that would be refused as DICOM, since the models know axial slices only."""
    fault = axial_fault(tuple(study.image.shape[1:]), np.asarray(study.image.affine))
    if fault:
        _LOGGER.warning(
            "the image is no stack of axial slices: %s; the models know axial slices only, so the result may be wrong",
            fault,
        )


def _study(request: CaseRequest, num_channels: int) -> Study:
    options, several = request.options, num_channels > 1 or bool(request.channels)
    reading = ReadingOptions(
        request.series, request.acquisition, options.slice_spacing, options.gantry_tilt, options.nifti_transform
    )
    return (
        read_channels([request.source, *request.channels], reading) if several else read_study(request.source, reading)
    )


def _listed(request: CaseRequest) -> list[Nodule] | None:
    """Positions of the list that the request names; None if it names none."""
    if request.nodules is None:
        return None
    options = request.options
    nodules = read_nodules(
        request.nodules,
        min_score=options.min_score,
        images=_image_names(request),
        nifti_transform=options.nifti_transform,
    )
    if not nodules:
        _LOGGER.warning("the nodule list is empty: the result has no lesions")
    return nodules


def _image_names(request: CaseRequest) -> list[str]:
    """Names that a list of several images may use for the image of this case."""
    return [image_name(request.source.name), *([request.series] if request.series else [])]


def with_objects_source(request: CaseRequest, read: CaseInput) -> CaseInput:
    """The input with the series to derive DICOM objects from, or with the obstacle, if objects are requested.

    Raises:
        DataError: if no objects can be made, and the option is to refuse.
        GeometryError: likewise, for the geometry of the study.
    """
    if not request.options.dicom_kinds:
        return read._replace(series=None, obstacle="")
    from mose_med.io.dicom.source import OBSTACLE_REMEDY, ObstacleError

    try:
        return read._replace(series=_source_series(request, read.study), obstacle="")
    except (DataError, GeometryError) as error:
        if request.options.dicom_seg_obstacle == "refuse":
            raise
        obstacle = error.fault if isinstance(error, ObstacleError) else str(error).removesuffix(f": {OBSTACLE_REMEDY}")
    _LOGGER.warning("DICOM objects are skipped, everything else is written: %s", obstacle)
    return read._replace(series=None, obstacle=obstacle)


def _source_series(request: CaseRequest, study: Study) -> SourceSeries:
    from mose_med.io.dicom.source import OBSTACLE_REMEDY, read_source_series

    if study.source.format != "dicom":
        raise DataError(f"DICOM objects need DICOM input, got {study.source.format}: {OBSTACLE_REMEDY}")
    if study.corrections:
        raise GeometryError(
            f"DICOM objects need unmodified slices, got a corrected series ({study.corrections[0]}): {OBSTACLE_REMEDY}"
        )
    series = read_source_series(request.source, request.series, request.acquisition)
    series.require_grid(tuple(study.image.shape[1:]), np.asarray(study.image.affine))
    return series
