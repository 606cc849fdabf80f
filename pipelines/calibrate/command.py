"""``mose-med calibrate``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from mose_med.errors import ConfigError
from pipelines.common.options import Checkpoint, CodesName, Device, Quiet, Seed, Threads, command

__all__ = ["register"]


def register(app: typer.Typer) -> None:
    """Add the command."""
    command(app)(calibrate)


def calibrate(
    checkpoint: Checkpoint,
    output_file: Annotated[Path, typer.Option(help="Checkpoint to write, .pt.", show_default=False)],
    datalist: Annotated[
        Path | None, typer.Option(help="dataset.json of a prepare command, to fit on.", show_default=False)
    ] = None,
    part: Annotated[str, typer.Option(help="Part of the split to fit on.")] = "validation",
    folds: Annotated[int, typer.Option(min=2, help="Folds of patients for the cross-fitted scores.")] = 5,
    samples: Annotated[int, typer.Option(min=1, help="Samples per image.")] = 16,
    codes: Annotated[
        CodesName, typer.Option(help="Codes of the samples: points that stand for each expert, or draws.")
    ] = CodesName.QUADRATURE,
    undo: Annotated[bool, typer.Option("--undo", help="Take a calibration back; needs no datalist.")] = False,
    seed: Seed = 0,
    device: Device = "auto",
    threads: Threads = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace the file.")] = False,
    quiet: Quiet = False,
) -> None:
    """Fit temperatures of gating and logits, so that probabilities mean what they say; writes a checkpoint."""
    if (datalist is None) != undo:
        found = "both" if undo else "neither"
        raise ConfigError(f"give either --datalist to fit on, or --undo, got {found}")
    from pipelines.calibrate.run import CalibrateOptions, calibrate, undo_calibration

    if datalist is None:
        undo_calibration(checkpoint, output_file, overwrite=overwrite)
        return
    calibrate(
        CalibrateOptions(
            datalist=datalist,
            checkpoint=checkpoint,
            output_file=output_file,
            part=part,
            folds=folds,
            num_samples=samples,
            codes=codes.value,
            seed=seed,
            device=device,
            threads=threads,
            overwrite=overwrite,
            quiet=quiet,
        )
    )
