"""Options of ``mose-med evaluate``: a checkpoint on a datalist, or masks of any tool against references."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from mose_med.errors import ConfigError
from mose_med.options import Limits, Option, check_options
from mose_med.weights.shipped import chosen_checkpoint
from pipelines.common.options import (
    CodesName,
    Datalist,
    Device,
    OutputDir,
    Overwrite,
    Part,
    Precision,
    Quiet,
    Seed,
    SeveralNumSamples,
    ShippedOrCheckpoint,
    Threads,
)

__all__ = ["EvaluateMasksOptions", "EvaluateOptions"]


@dataclass(frozen=True)
class EvaluateOptions:
    """How a checkpoint is scored. The compact form takes as many samples of each expert as fit, at least one.

    Attributes:
        batch_size: slices that are read and scored at once; no score depends on it.
        replace_other: replace an evaluation with other options, and keep one with these.
    """

    datalist: Datalist
    checkpoint: ShippedOrCheckpoint
    output_dir: OutputDir
    part: Part = "test"
    num_samples: SeveralNumSamples = (16,)
    codes: CodesName = "quadrature"
    precision: Precision = "auto"
    seed: Seed = 0
    num_seeds: Annotated[
        int, Option("Number of seeds to average over, counted up from --seed.", name="seeds", at_least=1)
    ] = 1
    device: Device = "auto"
    threads: Threads = None
    batch_size: Annotated[int, Limits(at_least=1)] = 16
    replace_other: bool = False
    overwrite: Overwrite = False
    quiet: Quiet = False

    def __post_init__(self) -> None:
        numbers = self.num_samples
        if not numbers or min(numbers) < 1 or len(set(numbers)) != len(numbers):
            raise ConfigError(f"num_samples must be different numbers >= 1, at least one, got {numbers}")
        check_options(self)

    @property
    def seeds(self) -> tuple[int, ...]:
        """All seeds."""
        return tuple(range(self.seed, self.seed + self.num_seeds))

    @property
    def weights(self) -> Path:
        """The checkpoint; the shipped weights if none is named."""
        return chosen_checkpoint(self.checkpoint)


@dataclass(frozen=True)
class EvaluateMasksOptions:
    """What to compare; cases may have different numbers of raters."""

    predictions: Annotated[Path, Option("Without a model: folder of masks, <case>.nii.gz (4D) or <case>/*.nii.gz.")]
    references: Annotated[Path, Option("Folder of the raters' masks.")]
    output_dir: OutputDir
    classes: Annotated[
        tuple[int, ...],
        Option(
            "With --predictions: values of the masks that count.",
            name="class_values",
            former_name="classes",
            at_least=0,
        ),
    ] = (1,)
    prediction_weights: Annotated[
        Path | None, Option("With --predictions: JSON or CSV of weights by case.", default_text="equal")
    ] = None
    reference_weights: Annotated[
        Path | None, Option("With --references: JSON or CSV of weights by case.", default_text="equal")
    ] = None
    threads: Threads = None
    overwrite: Overwrite = False
    quiet: Quiet = False
