"""Options of ``mose-med report``."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from mose_med.options import Option, check_options
from pipelines.common.options import RUN_PANEL, Quiet

__all__ = ["ReportOptions"]


@dataclass(frozen=True)
class ReportOptions:
    """What to report on."""

    case_dir: Annotated[Path, Option("Folder of a case that mose-med infer finished.", is_argument=True)]
    image: Annotated[Path, Option("CT that the case was inferred from: DICOM folder or zip, or NIfTI.")]
    series: Annotated[
        str | None, Option("SeriesInstanceUID to read.", default_text="the one with most axial slices")
    ] = None
    overwrite: Annotated[bool, Option("Replace a page that is there.", panel=RUN_PANEL)] = False
    quiet: Quiet = False
    acquisition: Annotated[
        int | None, Option("Acquisition to read of the series.", default_text="all slices", at_least=0)
    ] = None

    def __post_init__(self) -> None:
        check_options(self)
