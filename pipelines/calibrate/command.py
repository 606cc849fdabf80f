"""``mose-med calibrate``."""

from __future__ import annotations

from typing import Any

import typer

from mose_med.errors import ConfigError
from pipelines.calibrate.options import CalibrateOptions, UndoCalibrationOptions
from pipelines.common.command_line.command import command, refuse_others
from pipelines.common.imports import loading

__all__ = ["register"]


def register(app: typer.Typer) -> None:
    """Add the command."""
    command(
        app,
        choose=_chosen,
        examples=(
            "mose-med calibrate --checkpoint run/best.pt --datalist data/dataset.json --output-file run/calibrated.pt",
            "mose-med calibrate --checkpoint run/calibrated.pt --undo --output-file run/plain.pt",
        ),
    )(calibrate)


def calibrate(options: CalibrateOptions | UndoCalibrationOptions) -> Any:
    """Fit temperatures of gating and logits, so that probabilities are calibrated; writes a checkpoint."""
    with loading():
        from pipelines.calibrate.run import calibrate, undo_calibration

    if isinstance(options, UndoCalibrationOptions):
        undo_calibration(options.checkpoint, options.output_file, overwrite=options.overwrite)
        return None
    return calibrate(options)


def _chosen(given: dict[str, Any]) -> type:
    undo = "undo" in given
    if ("datalist" in given) == undo:
        raise ConfigError(f"give either --datalist to fit on, or --undo, got {'both' if undo else 'neither'}")
    if undo:
        refuse_others(given, UndoCalibrationOptions, "cannot be combined with --undo: leave it out")
        return UndoCalibrationOptions
    return CalibrateOptions
