"""``mose-med retrain``."""

from __future__ import annotations

import typer

from pipelines.common.command import command
from pipelines.retrain.options import RetrainOptions

__all__ = ["register"]


def register(app: typer.Typer) -> None:
    """Add the command."""
    command(app)(retrain)


def retrain(options: RetrainOptions) -> None:
    """Fine-tune the champion on new data, compare the two on held-out patients, register, promote if better."""
    from pipelines.retrain.run import retrain

    result = retrain(options)
    verdict = "promoted" if result.promoted else "not promoted"
    typer.echo(f"version {result.version} of {options.model} {verdict}: {result.reason}")
