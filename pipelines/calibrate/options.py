"""Options of ``mose-med calibrate``."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from mose_med.options import Limits, Option, check_options
from pipelines.common.options import RUN_PANEL, Checkpoint, CodesName, Device, Quiet, Seed, Threads

__all__ = ["CalibrateOptions", "UndoCalibrationOptions"]

_OutputFile = Annotated[Path, Option("Checkpoint to write, .pt.")]
_Overwrite = Annotated[bool, Option("Replace the file.", panel=RUN_PANEL)]


@dataclass(frozen=True)
class CalibrateOptions:
    """How temperatures are fitted; ``.calibration.json`` and ``.reliability.png`` come beside the output file.

    Attributes:
        batch_size: images that are read and scored at once; no result depends on it.
    """

    datalist: Annotated[Path, Option("dataset.json of a prepare command, to fit on.")]
    checkpoint: Checkpoint
    output_file: _OutputFile
    part: Annotated[str, Option("Part of the split to fit on.")] = "validation"
    folds: Annotated[int, Option("Folds of patients for the cross-fitted scores.", at_least=2)] = 5
    num_samples: Annotated[int, Option("Samples per image.", name="samples", at_least=1)] = 16
    codes: CodesName = "quadrature"
    seed: Seed = 0
    device: Device = "auto"
    threads: Threads = None
    batch_size: Annotated[int, Limits(at_least=1)] = 16
    overwrite: _Overwrite = False
    quiet: Quiet = False

    def __post_init__(self) -> None:
        check_options(self)


@dataclass(frozen=True)
class UndoCalibrationOptions:
    """A checkpoint whose calibration is taken back."""

    checkpoint: Checkpoint
    output_file: _OutputFile
    undo: Annotated[bool, Option("Take a calibration back; needs no datalist.")] = False
    overwrite: _Overwrite = False
