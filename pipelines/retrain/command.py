"""``mose-med retrain``."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from pipelines.common.options import (
    AcceptVersion,
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
from pipelines.models.command import Model

__all__ = ["register"]


class Promote(StrEnum):
    """When the challenger becomes the champion."""

    AUTO = "auto"
    NEVER = "never"
    FORCE = "force"


def register(app: typer.Typer) -> None:
    """Add the command."""
    command(app)(retrain)


def retrain(
    datalist: Datalist,
    output_dir: OutputDir,
    model: Model = "mose_med",
    tracking_uri: TrackingUri = None,
    old_datalist: Annotated[
        Path | None, typer.Option(help="Data that the champion has seen.", show_default=False)
    ] = None,
    merge: Annotated[bool, typer.Option(help="Train on the old data, too.")] = True,
    held_out: Annotated[
        Path | None,
        typer.Option(help="Datalist whose test part the two are compared on.", show_default="that of --datalist"),
    ] = None,
    config: Annotated[
        list[str] | None, typer.Option(help="Overlay on the settings of the fine-tuning.", show_default=False)
    ] = None,
    bundle: Annotated[
        str | None, typer.Option(help="Which bundle the model belongs to.", show_default="that of the champion")
    ] = None,
    max_epochs: Annotated[int | None, typer.Option(min=1, help="Epochs in all.", show_default="20")] = None,
    promote: Annotated[Promote, typer.Option(help="auto: if GED is better and ECE no worse.")] = Promote.AUTO,
    margin: Annotated[
        float | None,
        typer.Option(
            help="GED that the challenger may be higher by.", show_default="it must be lower", **real_number(above=0)
        ),
    ] = None,
    ece_margin: Annotated[
        float, typer.Option(help="Percentage points that its ECE may be higher by.", **real_number(at_least=0))
    ] = 0.0,
    samples: Annotated[int, typer.Option(min=1, help="Samples per slice in the comparison.")] = 16,
    seed: Seed = 0,
    device: Device = "auto",
    threads: Threads = None,
    overwrite: Overwrite = False,
    accept_version: AcceptVersion = False,
    quiet: Quiet = False,
) -> None:
    """Fine-tune the champion on new data, compare the two on held-out patients, register, promote if better."""
    from pipelines.retrain.run import RetrainOptions, retrain

    result = retrain(
        RetrainOptions(
            datalist=datalist,
            output_dir=output_dir,
            model=model,
            tracking_uri=tracking_uri,
            old_datalist=old_datalist,
            merge=merge,
            held_out=held_out,
            configs=tuple(config or ()),
            bundle=bundle,
            max_epochs=max_epochs,
            promote=promote.value,
            margin=margin,
            ece_margin=ece_margin,
            num_samples=samples,
            seed=seed,
            device=device,
            threads=threads,
            overwrite=overwrite,
            accept_version=accept_version,
            quiet=quiet,
        )
    )
    verdict = "promoted" if result.promoted else "not promoted"
    typer.echo(f"version {result.version} of {model} {verdict}: {result.reason}")
