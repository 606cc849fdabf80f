"""Options of ``mose-med retrain``."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

from mose_med.options import Option, check_options
from pipelines.common.options import (
    AcceptVersion,
    BundleOfModel,
    Datalist,
    Device,
    MaxEpochs,
    ModelName,
    NumSamples,
    OutputDir,
    Overlays,
    Overwrite,
    Quiet,
    Seed,
    Threads,
    TrackingUri,
)

__all__ = ["RetrainOptions"]


@dataclass(frozen=True)
class RetrainOptions:
    """Data and model of a retraining, and the rule for promotion."""

    datalist: Datalist
    output_dir: OutputDir
    model: ModelName = "mose_med"
    tracking_uri: TrackingUri = None
    old_datalist: Annotated[Path | None, Option("Data that the champion was trained on.")] = None
    merge: Annotated[bool, Option("Train on the old data as well.")] = True
    held_out: Annotated[
        Path | None,
        Option("Datalist whose test part is used for the comparison.", default_text="that of --datalist"),
    ] = None
    configs: Overlays = ()
    bundle: BundleOfModel = None
    max_epochs: MaxEpochs = None
    promote: Annotated[
        Literal["auto", "never", "force"], Option("When to promote; auto: if GED is better and ECE is no worse.")
    ] = "auto"
    margin: Annotated[
        float | None,
        Option("Largest accepted increase of GED.", default_text="GED must be lower", above=0),
    ] = None
    ece_margin: Annotated[float, Option("Largest accepted increase of ECE, in percentage points.", at_least=0)] = 0.0
    num_samples: NumSamples = 16
    seed: Seed = 0
    device: Device = "auto"
    threads: Threads = None
    overwrite: Overwrite = False
    accept_version: AcceptVersion = False
    quiet: Quiet = False

    def __post_init__(self) -> None:
        check_options(self)
