"""``mose-med report``."""

from __future__ import annotations

from typing import Any

import typer

from pipelines.common.command_line.command import command
from pipelines.common.imports import loading
from pipelines.report.options import ReportOptions

__all__ = ["register"]


def register(app: typer.Typer) -> None:
    """Add the command."""
    command(
        app,
        examples=(
            "mose-med report results/case-1 --image study.zip",
            "mose-med report results/case-1 --image ct.nii.gz --overwrite",
        ),
    )(report)


def report(options: ReportOptions) -> dict[str, Any]:
    """A page to look at a finished case in a browser, without a network, and a picture of each lesion."""
    with loading():
        from pipelines.report.run import report

    return {"page": report(options)}
