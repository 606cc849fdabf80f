"""``mose-med info``."""

from __future__ import annotations

from typing import Any

import typer

from pipelines.common.command_line.command import command
from pipelines.info.options import InfoOptions

__all__ = ["register"]


def register(app: typer.Typer) -> None:
    """Add the command."""
    command(app, examples=("mose-med info", "mose-med info --json | jq .result.devices"))(info)


def info(options: InfoOptions) -> dict[str, Any]:
    """Version, packages, extras, devices, weights and networks; with --json, every command and its options too."""
    from pipelines.info.run import describe, lines

    found = describe()
    typer.echo("\n".join(lines(found)))
    return found
