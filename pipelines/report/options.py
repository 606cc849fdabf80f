"""Options of ``mose-med report``."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from mose_med.options import Option, check_options
from pipelines.common.options import Acquisition, Overwrite, Quiet, Series

__all__ = ["ReportOptions"]


@dataclass(frozen=True)
class ReportOptions:
    """Options of a report."""

    case_dir: Annotated[Path, Option("Folder of a case that mose-med infer finished.", is_argument=True)]
    image: Annotated[Path, Option("CT that the case was inferred from: DICOM folder or zip, or NIfTI.")]
    series: Series = None
    overwrite: Overwrite = False
    quiet: Quiet = False
    acquisition: Acquisition = None

    def __post_init__(self) -> None:
        check_options(self)
