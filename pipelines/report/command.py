"""``mose-med report``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from pipelines.common.options import Quiet, command

__all__ = ["register"]


def register(app: typer.Typer) -> None:
    """Add the command."""
    command(app)(report)


def report(
    case_dir: Annotated[
        Path, typer.Argument(help="Folder of a case that mose-med infer finished.", show_default=False)
    ],
    image: Annotated[
        Path,
        typer.Option(help="CT that the case was inferred from: DICOM folder or zip, or NIfTI.", show_default=False),
    ],
    series: Annotated[
        str | None, typer.Option(help="SeriesInstanceUID to read.", show_default="the one with most axial slices")
    ] = None,
    acquisition: Annotated[
        int | None, typer.Option(min=0, help="Acquisition to read of the series.", show_default="all slices")
    ] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace a page that is there.")] = False,
    quiet: Quiet = False,
) -> None:
    """A page to look at a finished case in a browser, without a network, and a picture of each lesion."""
    from pipelines.report.run import ReportOptions, report

    report(ReportOptions(case_dir, image, series, overwrite, quiet, acquisition))
