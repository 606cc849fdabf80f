"""``mose-med retrain``."""

from __future__ import annotations

from typing import Any

import typer

from pipelines.common.command_line.command import command
from pipelines.common.imports import loading
from pipelines.retrain.options import RetrainOptions

__all__ = ["register"]


def register(app: typer.Typer) -> None:
    """Add the command."""
    command(
        app,
        examples=(
            "mose-med retrain --datalist new/dataset.json --old-datalist data/dataset.json --output-dir retrained",
            "mose-med retrain --datalist new/dataset.json --output-dir retrained --promote never",
        ),
    )(retrain)


def retrain(options: RetrainOptions) -> Any:
    """Fine-tune the champion on new data, compare the two on held-out patients, register, promote if better."""
    with loading():
        from pipelines.retrain.run import retrain

    result = retrain(options)
    verdict = "promoted" if result.promoted else "not promoted"
    typer.echo(f"version {result.version} of {options.model} {verdict}: {result.reason}")
    return result
