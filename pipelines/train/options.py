"""Options of ``mose-med train``."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from mose_med.options import Option, check_options
from pipelines.common.options import (
    AcceptVersion,
    Bundle,
    Datalist,
    Device,
    MaxEpochs,
    OptionalPrecision,
    OutputDir,
    Overlays,
    Overwrite,
    Quiet,
    Seed,
    Settings,
    Threads,
    TrackingUri,
)

__all__ = ["TrainOptions"]


@dataclass(frozen=True)
class TrainOptions:
    """Data, model and limits of a training; without MLflow, a training is not tracked, and a message says so."""

    datalist: Datalist
    output_dir: OutputDir
    configs: Overlays = ()
    bundle: Bundle = "lidc"
    max_epochs: MaxEpochs = None
    max_minutes: Annotated[
        float | None,
        Option("Stop after the last epoch that ends before this time.", default_text="no limit", above=0),
    ] = None
    precision: OptionalPrecision = None
    seed: Seed = 0
    device: Device = "auto"
    threads: Threads = None
    tracking: Annotated[
        bool,
        Option(
            "Track with MLflow in an embedded SQLite store, including the evaluation and the bundle of the best epoch.",
            default=True,
        ),
    ] = False
    tracking_uri: TrackingUri = None
    initial_weights: Annotated[
        Path | None, Option("Checkpoint or bundle to start from.", default_text="random weights")
    ] = None
    overwrite: Overwrite = False
    accept_version: AcceptVersion = False
    quiet: Quiet = False
    settings: Settings = ()

    def __post_init__(self) -> None:
        check_options(self)
