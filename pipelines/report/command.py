"""``mose-med report``."""

from __future__ import annotations

import typer

from pipelines.common.command import command
from pipelines.report.options import ReportOptions

__all__ = ["register"]


def register(app: typer.Typer) -> None:
    """Add the command."""
    command(app)(report)


def report(options: ReportOptions) -> None:
    """A page to look at a finished case in a browser, without a network, and a picture of each lesion."""
    from pipelines.report.run import report

    report(options)
