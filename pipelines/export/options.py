"""Options of ``mose-med export``."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

from mose_med.options import Option, check_options
from pipelines.common.options import (
    BundleOfModel,
    Checkpoint,
    Datalist,
    OutputDir,
    OutputFile,
    Overwrite,
    Quiet,
    ShippedOrCheckpoint,
)

__all__ = ["ExportAppOptions", "ExportBundleOptions", "ExportNnunetOptions"]


@dataclass(frozen=True)
class ExportBundleOptions:
    """What is exported; beside the checkpoint, the settings of its training are found, too."""

    checkpoint: Checkpoint
    output_file: OutputFile
    evaluation: Annotated[
        Path | None, Option("Folder of mose-med evaluate with the scores of this checkpoint, for the model card.")
    ] = None
    bundle: BundleOfModel = None
    self_contained: Annotated[
        bool, Option("Include the modules of mose_med that the configs name: it runs without mose_med.")
    ] = False
    large_files: Annotated[
        str | None, Option("URL of the folder for files over 25 MB, for the zoo's large_files.yml.")
    ] = None
    overwrite: Overwrite = False
    quiet: Quiet = False


@dataclass(frozen=True)
class ExportNnunetOptions:
    """What is exported. Raters of weight 0 do not count; others count by weight in a majority, and alike in STAPLE."""

    datalist: Datalist
    output_dir: OutputDir
    consensus: Annotated[
        Literal["majority", "staple"], Option("How the masks of all raters are combined into one.")
    ] = "majority"
    channel: Annotated[str, Option("Name of the image channel; nnU-Net treats CT by HU.")] = "CT"
    overwrite: Overwrite = False
    quiet: Quiet = False

    def __post_init__(self) -> None:
        check_options(self)


@dataclass(frozen=True)
class ExportAppOptions:
    """An application that another program starts: a folder with its files and the weights."""

    output_dir: Annotated[Path, Option("Folder of the application.", is_argument=True, metavar="DIR")]
    checkpoint: ShippedOrCheckpoint = None
    bundle: BundleOfModel = None
    overwrite: Overwrite = False
    quiet: Quiet = False
