"""``mose-med doctor``."""

from __future__ import annotations

from pathlib import Path

import typer

from pipelines.common.command_line.command import command
from pipelines.common.command_result import Outcome
from pipelines.doctor.options import DoctorOptions

__all__ = ["register"]


def register(app: typer.Typer) -> None:
    """Add the command."""
    command(app, examples=("mose-med doctor", "mose-med doctor --data data"))(doctor)


def doctor(options: DoctorOptions) -> Outcome:
    """Check the environment, or with --data a prepared data set. Exit 2 if anything is wrong.

    Of the environment: Python, torch and its GPU, codecs, weights, extras, the MLflow store, disk, write access, locks.
    Of a data set: hashes, geometry, masks, duplicates across parts.
    """
    from pipelines.doctor.run import examine, examine_environment

    return examine_environment(options.folder or Path()) if options.data is None else examine(options.data)
