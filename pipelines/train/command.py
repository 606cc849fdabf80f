"""``mose-med train``."""

from __future__ import annotations

from typing import Any

import typer

from pipelines.common.command_line.command import command
from pipelines.common.imports import loading
from pipelines.train.options import TrainOptions

__all__ = ["register"]


def register(app: typer.Typer) -> None:
    """Add the command."""
    command(
        app,
        examples=(
            "mose-med train --datalist data/dataset.json --output-dir run --bundle lidc_small",
            "mose-med train --datalist data/dataset.json --output-dir run --max-epochs 50 --device cuda",
        ),
    )(train)


def train(options: TrainOptions) -> Any:
    """Train MoSE with the optimal-transport loss; the best checkpoint is the one of lowest validation GED."""
    with loading():
        from pipelines.train.tracked_training import train_and_evaluate

    return train_and_evaluate(options)
