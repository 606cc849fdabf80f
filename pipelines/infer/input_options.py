"""Options of ``mose-med infer`` that say how an input is read."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from mose_med.errors import ConfigError
from pipelines.common.options import real_number

__all__ = [
    "Acquisition",
    "DicomSegObstacle",
    "DicomSegObstacleName",
    "GantryTilt",
    "GantryTiltName",
    "ListSeries",
    "MinScore",
    "NiftiTransform",
    "NiftiTransformName",
    "Series",
    "SliceSpacing",
    "SliceSpacingName",
    "list_series",
]


class SliceSpacingName(StrEnum):
    """What to do with slices that are missing or not equally spaced."""

    REFUSE = "refuse"
    RESAMPLE = "resample"


class GantryTiltName(StrEnum):
    """What to do with slices that are shifted in their plane."""

    REFUSE = "refuse"
    CORRECT = "correct"


class NiftiTransformName(StrEnum):
    """Which transform of a NIfTI file says where it lies."""

    AUTO = "auto"
    SFORM = "sform"
    QFORM = "qform"
    CENTRE = "centre"


class DicomSegObstacleName(StrEnum):
    """What to do with a study of which no DICOM objects can be made."""

    REFUSE = "refuse"
    SKIP = "skip"


_PANEL = "How INPUT is read"

Series = Annotated[
    str | None,
    typer.Option(
        help="SeriesInstanceUID to read of INPUT, or its number in --list-series.",
        show_default="1 of that list",
        rich_help_panel=_PANEL,
    ),
]
Acquisition = Annotated[
    int | None,
    typer.Option(
        min=0,
        help="Acquisition to read of a DICOM series that holds the same places more than once.",
        show_default=False,
        rich_help_panel=_PANEL,
    ),
]
ListSeries = Annotated[
    bool, typer.Option("--list-series", help="Only print the CT series of INPUT.", rich_help_panel=_PANEL)
]
SliceSpacing = Annotated[
    SliceSpacingName,
    typer.Option(help="DICOM slices missing or not equally spaced: resample interpolates.", rich_help_panel=_PANEL),
]
GantryTilt = Annotated[
    GantryTiltName,
    typer.Option(help="Slices of a tilted gantry: correct lays them on a right-angled grid.", rich_help_panel=_PANEL),
]
NiftiTransform = Annotated[
    NiftiTransformName,
    typer.Option(
        help="Where NIfTI lies: auto takes the sform where it has one, else the qform; centre takes the centre for the "
        "origin.",
        rich_help_panel=_PANEL,
    ),
]
DicomSegObstacle = Annotated[
    DicomSegObstacleName,
    typer.Option(help="Study of which --dicom-seg can make no objects: skip writes all else."),
]
MinScore = Annotated[
    float,
    typer.Option(
        help="Least score of a box, of --nodules in JSON.", rich_help_panel=_PANEL, **real_number(at_least=0, at_most=1)
    ),
]


def list_series(source: Path | None, slice_spacing: SliceSpacingName, gantry_tilt: GantryTiltName) -> None:
    """Print the table of ``--list-series``.

    Raises:
        ConfigError: if there is no single INPUT, or it is not DICOM.
        DataError: if it has no CT.
    """
    if source is None:
        raise ConfigError("--list-series needs INPUT, a DICOM folder or zip")
    from pipelines.infer.series_table import print_series

    print_series(source, slice_spacing=slice_spacing.value, gantry_tilt=gantry_tilt.value)
