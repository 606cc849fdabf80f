"""``mose-med train``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from pipelines.common.options import (
    AcceptVersion,
    Bundle,
    Datalist,
    Device,
    OutputDir,
    Overwrite,
    Quiet,
    Seed,
    Threads,
    TrackingUri,
    command,
    real_number,
)

__all__ = ["register"]


def register(app: typer.Typer) -> None:
    """Add the command."""
    command(app)(train)


def train(
    datalist: Datalist,
    output_dir: OutputDir,
    bundle: Bundle = "lidc",
    config: Annotated[
        list[str] | None,
        typer.Option(help="Overlay on the bundle's train.yaml: a file or a name such as demo.", show_default=False),
    ] = None,
    max_epochs: Annotated[int | None, typer.Option(min=1, help="Epochs in all.", show_default="as configured")] = None,
    max_minutes: Annotated[
        float | None,
        typer.Option(
            help="Stop at the end of an epoch before this time has passed.",
            show_default="no limit",
            **real_number(above=0),
        ),
    ] = None,
    initial_weights: Annotated[
        Path | None, typer.Option(help="Checkpoint or bundle to start from.", show_default="random weights")
    ] = None,
    seed: Seed = 0,
    tracking: Annotated[
        bool,
        typer.Option(
            help="Track with MLflow in an embedded SQLite store; with the evaluation and the bundle of the best epoch."
        ),
    ] = True,
    tracking_uri: TrackingUri = None,
    device: Device = "auto",
    threads: Threads = None,
    overwrite: Overwrite = False,
    accept_version: AcceptVersion = False,
    quiet: Quiet = False,
) -> None:
    """Train MoSE with the optimal-transport loss; the best checkpoint is the one of lowest validation GED."""
    from pipelines.train.run import TrainOptions
    from pipelines.train.tracked_training import train_and_evaluate

    train_and_evaluate(
        TrainOptions(
            datalist=datalist,
            output_dir=output_dir,
            bundle=bundle,
            configs=tuple(config or ()),
            max_epochs=max_epochs,
            max_minutes=max_minutes,
            seed=seed,
            tracking=tracking,
            tracking_uri=tracking_uri,
            initial_weights=initial_weights,
            device=device,
            threads=threads,
            overwrite=overwrite,
            accept_version=accept_version,
            quiet=quiet,
        )
    )
