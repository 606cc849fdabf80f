"""``mose-med doctor``."""

from __future__ import annotations

import typer

from pipelines.common.command import command
from pipelines.common.console import ExitCode
from pipelines.doctor.options import DoctorOptions

__all__ = ["register"]


def register(app: typer.Typer) -> None:
    """Add the command."""
    command(app)(doctor)


def doctor(options: DoctorOptions) -> ExitCode:
    """Verify a prepared data set: hashes, geometry, masks, duplicates across parts. Exit 2 if anything is wrong."""
    from pipelines.doctor.run import examine

    return examine(options)
