"""``mose-med train``."""

from __future__ import annotations

import typer

from pipelines.common.command import command
from pipelines.train.options import TrainOptions

__all__ = ["register"]


def register(app: typer.Typer) -> None:
    """Add the command."""
    command(app)(train)


def train(options: TrainOptions) -> None:
    """Train MoSE with the optimal-transport loss; the best checkpoint is the one of lowest validation GED."""
    from pipelines.train.tracked_training import train_and_evaluate

    train_and_evaluate(options)
