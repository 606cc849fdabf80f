"""``mose-med doctor``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from pipelines.common.console import ExitCode
from pipelines.common.options import Quiet, command

__all__ = ["register"]


def register(app: typer.Typer) -> None:
    """Add the command."""
    command(app)(doctor)


def doctor(
    data: Annotated[Path, typer.Option(help="Folder that mose-med prepare wrote.", show_default=False)],
    quiet: Quiet = False,
) -> ExitCode:
    """Verify a prepared data set: hashes, geometry, masks, duplicates across parts. Exit 2 if anything is wrong."""
    from pipelines.doctor.run import DoctorOptions, examine

    return examine(DoctorOptions(data))
