"""The read stage: everything that a case names, read and checked before anything is written.

An option that changes how an input is read is a field of ``ResultOptions`` and is passed on here.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from mose_med.errors import DataError
from mose_med.inferers import require_inside
from mose_med.io import Nodule, Study, read_nodules, read_study
from pipelines.inference.options import ResultOptions
from pipelines.provenance import image_sha256

__all__ = ["CaseInput", "CaseRequest", "read_case"]


@dataclass(frozen=True)
class CaseRequest:
    """One case to infer; small and picklable, so that another process or machine can do it.

    Attributes:
        source: DICOM folder or zip, or NIfTI file.
        nodules: CSV of positions in mm.
        series: SeriesInstanceUID to read; the one with most axial slices if None.
        options: what decides the result.
        case: name of the case; None names it by a keyed hash of its identity.
    """

    source: Path
    nodules: Path | None
    series: str | None
    options: ResultOptions
    case: str | None = None


class CaseInput(NamedTuple):
    """What was read of a case."""

    study: Study
    nodules: list[Nodule]
    input_sha256: str

    @property
    def identity(self) -> str:
        """What makes this case this case: the series, or the content where it has no name."""
        return self.study.source.series_uid or self.input_sha256

    def request(self) -> dict[str, Any]:
        """What is asked of this case, for its provenance."""
        return {
            "input_sha256": self.input_sha256,
            "nodules": [{"nodule_id": n.nodule_id, "position_ras_mm": list(n.position_mm)} for n in self.nodules],
        }


def read_case(request: CaseRequest) -> CaseInput:
    """Read the nodule list and the study, and check that they go together.

    Raises:
        ConfigError: if the series is not there.
        DataError: if the study or the nodule list cannot be used, or a position lies outside.
        GeometryError: if the geometry of the study does not fit.
    """
    if request.nodules is None:
        raise DataError("the case has no nodule list: give one, a CSV with x_ras_mm,y_ras_mm,z_ras_mm")
    nodules = read_nodules(request.nodules)
    study = read_study(request.source, request.series)
    require_inside(study.image, [nodule.position_mm for nodule in nodules])
    return CaseInput(study, nodules, image_sha256(study.image))
