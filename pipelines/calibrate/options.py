"""Options of ``mose-med calibrate``."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from mose_med.options import Limits, Option, check_options
from pipelines.common.options import (
    Checkpoint,
    CodesName,
    Datalist,
    Device,
    NumSamples,
    OutputFile,
    Overwrite,
    Part,
    Quiet,
    Seed,
    Threads,
)

__all__ = ["CalibrateOptions", "UndoCalibrationOptions"]


@dataclass(frozen=True)
class CalibrateOptions:
    """How temperatures are fitted; ``.calibration.json`` and ``.reliability.png`` are written beside the output file.

    Attributes:
        batch_size: images that are read and scored at once; no result depends on it.
    """

    datalist: Datalist
    checkpoint: Checkpoint
    output_file: OutputFile
    part: Part = "validation"
    folds: Annotated[int, Option("Folds of patients for the cross-fitted scores.", at_least=2)] = 5
    num_samples: NumSamples = 16
    codes: CodesName = "quadrature"
    seed: Seed = 0
    device: Device = "auto"
    threads: Threads = None
    batch_size: Annotated[int, Limits(at_least=1)] = 16
    overwrite: Overwrite = False
    quiet: Quiet = False

    def __post_init__(self) -> None:
        check_options(self)


@dataclass(frozen=True)
class UndoCalibrationOptions:
    """A checkpoint whose calibration is removed."""

    checkpoint: Checkpoint
    output_file: OutputFile
    undo: Annotated[bool, Option("Remove a calibration; needs no datalist.")] = False
    overwrite: Overwrite = False
    quiet: Quiet = False
