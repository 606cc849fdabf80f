"""Options of one name and meaning, which several commands have."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from mose_med.api.options import RUN_PANEL, CodesName, Precision, Seed
from mose_med.options import Option

__all__ = [
    "RUN_PANEL",
    "AcceptVersion",
    "Bundle",
    "Checkpoint",
    "CodesName",
    "Datalist",
    "Device",
    "KeepGoing",
    "ModelName",
    "OutputDir",
    "Overlays",
    "Overwrite",
    "Precision",
    "Quiet",
    "Seed",
    "Settings",
    "SplitCsv",
    "SplitSalt",
    "Threads",
    "TrackingUri",
]

Bundle = Annotated[str, Option("lidc, lidc_small or cityscapes.")]
OutputDir = Annotated[Path, Option("Folder for everything that is written.")]
Datalist = Annotated[Path, Option("dataset.json of a prepare command.")]
Checkpoint = Annotated[Path, Option("Weights written by mose-med train, or a bundle that holds them.")]
SplitCsv = Annotated[Path | None, Option("CSV of patient_id,part; without it, by hash of the patient.", name="split")]
Overlays = Annotated[
    tuple[str, ...], Option("Overlay on the bundle's train.yaml: a file or a name such as demo.", name="config")
]
Settings = Annotated[
    tuple[str, ...],
    Option("One setting, name=value, as `mose-med config list` names it; may be repeated.", name="set"),
]
SplitSalt = Annotated[str, Option("Changes which patients the hash puts where.")]
KeepGoing = Annotated[
    bool, Option("Record a case that cannot be used in failed.csv and continue; exit 1.", panel=RUN_PANEL)
]
ModelName = Annotated[str, Option("Name of the registered model.")]
Device = Annotated[str, Option("auto, cpu, cuda or cuda:N.", panel=RUN_PANEL)]
Threads = Annotated[int | None, Option("CPU threads; all cores if not given.", panel=RUN_PANEL, at_least=1)]
TrackingUri = Annotated[
    str | None, Option("MLflow server, or folder or URI of another store.", envvar="MLFLOW_TRACKING_URI")
]
Overwrite = Annotated[bool, Option("Replace an output folder made with other options.", panel=RUN_PANEL)]
AcceptVersion = Annotated[
    bool, Option("Continue in an output folder that another version of mose-med made.", panel=RUN_PANEL)
]
Quiet = Annotated[bool, Option("No progress bars, warnings and errors only.", panel=RUN_PANEL)]
