"""Options of one name and meaning, which several commands have."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from mose_med.api.options import (
    READING_PANEL,
    RUN_PANEL,
    CodesName,
    OptionalPrecision,
    Precision,
    Report,
    Samples,
    Seed,
)
from mose_med.options import Option

__all__ = [
    "READING_PANEL",
    "RUN_PANEL",
    "AcceptVersion",
    "Acquisition",
    "Bundle",
    "BundleOfModel",
    "CaBundle",
    "CaseTimeout",
    "Checkpoint",
    "CodesName",
    "Datalist",
    "Device",
    "Dicomweb",
    "KeepGoing",
    "LidcRoot",
    "MaxEpochs",
    "ModelName",
    "NumSamples",
    "OptionalPrecision",
    "OutputDir",
    "OutputFile",
    "Overlays",
    "Overwrite",
    "Part",
    "PhantomOrLidcRoot",
    "Precision",
    "Quiet",
    "Report",
    "RetryFailed",
    "Samples",
    "Seed",
    "Series",
    "Settings",
    "SeveralNumSamples",
    "ShippedOrCheckpoint",
    "SplitCsv",
    "SplitSalt",
    "Threads",
    "TrackingUri",
    "WorkerThreads",
]

_BUNDLE = "Bundle of the model: lidc, lidc_small or cityscapes."
_CHECKPOINT = "Weights written by mose-med train, or a bundle that holds them."
_LIDC = "LIDC-IDRI: folder that holds LIDC-IDRI-0001 and so on, with DICOM files below."
_SAMPLES = "Samples per image, of all experts together."
_THREADS = "CPU threads of each process."
Acquisition = Annotated[
    int | None,
    Option(
        "Acquisition to read, if a DICOM series has several slices at one position.",
        default_text="all slices",
        panel=READING_PANEL,
        at_least=0,
    ),
]
Bundle = Annotated[str, Option(_BUNDLE)]
BundleOfModel = Annotated[str | None, Option(_BUNDLE, default_text="that of its training")]
CaBundle = Annotated[Path | None, Option("CA certificates to trust for the archive.", default_text="the default ones")]
CaseTimeout = Annotated[
    float | None,
    Option(
        "Time limit of a case in seconds, from reading to writing.",
        name="case_timeout",
        panel="Many cases",
        default_text="no limit",
        above=0,
    ),
]
Dicomweb = Annotated[
    str | None,
    Option(
        "URL of a DICOM archive that receives the DICOM objects; infer reads --study from it. Credentials from "
        "MOSE_MED_DICOMWEB_USER and _PASSWORD, or _TOKEN, or ~/.netrc."
    ),
]
OutputDir = Annotated[Path, Option("Folder for all output.")]
Datalist = Annotated[Path, Option("dataset.json of a prepare command.")]
OutputFile = Annotated[Path, Option("File to write the weights to.")]
Part = Annotated[str, Option("Part of the datalist: training, validation or test.")]
Checkpoint = Annotated[Path, Option(_CHECKPOINT)]
ShippedOrCheckpoint = Annotated[Path | None, Option(_CHECKPOINT, default_text="shipped")]
#: Beside ``--samples``, which are those of each expert.
NumSamples = Annotated[int, Option(_SAMPLES, former_name="samples", at_least=1)]
SeveralNumSamples = Annotated[tuple[int, ...], Option(_SAMPLES, former_name="samples", at_least=1)]
Series = Annotated[
    str | None,
    Option(
        "SeriesInstanceUID to read, or its number in mose-med infer --list-series.",
        default_text="the first of that list",
        panel=READING_PANEL,
    ),
]
RetryFailed = Annotated[bool, Option("Retry cases that failed before.", panel="Many cases")]
SplitCsv = Annotated[Path | None, Option("CSV of patient_id,part; without it, by hash of the patient.", name="split")]
Overlays = Annotated[
    tuple[str, ...], Option("Overlay on the training settings: a file, or a name such as demo.", name="config")
]
Settings = Annotated[
    tuple[str, ...],
    Option("One setting, name=value, as `mose-med config list` names it; may be repeated.", name="set"),
]
SplitSalt = Annotated[str, Option("Salt of the hash that assigns patients to parts.")]
KeepGoing = Annotated[
    bool, Option("Record a case that cannot be used in failed.csv and continue; exit 1.", panel=RUN_PANEL)
]
ModelName = Annotated[str, Option("Name of the registered model.")]
LidcRoot = Annotated[Path, Option(_LIDC)]
PhantomOrLidcRoot = Annotated[Path | None, Option(_LIDC, default_text="a phantom with real contours")]
MaxEpochs = Annotated[int | None, Option("Total number of epochs.", default_text="as configured", at_least=1)]
Device = Annotated[str, Option("auto, cpu, cuda or cuda:N.", panel=RUN_PANEL)]
Threads = Annotated[int | None, Option(_THREADS, default_text="all cores", panel=RUN_PANEL, at_least=1)]
WorkerThreads = Annotated[int, Option(_THREADS, panel=RUN_PANEL, at_least=1)]
TrackingUri = Annotated[
    str | None, Option("MLflow server, or folder or URI of another store.", envvar="MLFLOW_TRACKING_URI")
]
Overwrite = Annotated[bool, Option("Repeat the work, and replace earlier output of this command.", panel=RUN_PANEL)]
AcceptVersion = Annotated[
    bool, Option("Continue in an output folder that another version of mose-med made.", panel=RUN_PANEL)
]
Quiet = Annotated[bool, Option("No progress bars; only warnings and errors.", panel=RUN_PANEL)]
