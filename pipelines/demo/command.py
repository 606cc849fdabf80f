"""``mose-med demo``."""

from __future__ import annotations

import typer

from pipelines.common.command_line.command import command
from pipelines.common.imports import loading
from pipelines.demo.options import DemoOptions

__all__ = ["register"]


def register(app: typer.Typer) -> None:
    """Add the command."""
    command(
        app,
        examples=("mose-med demo", "mose-med demo --lidc-root LIDC-IDRI --output-dir demo --device cuda"),
    )(demo)


def demo(options: DemoOptions) -> None:
    """Everything once, end to end: annotated CT in, per-expert masks, entropy maps and measured scores out."""
    with loading():
        from pipelines.demo.run import run_demo

    run_demo(options)
