"""Options of ``mose-med models``."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from mose_med.options import Option, check_options
from pipelines.common.options import (
    Datalist,
    Device,
    ModelName,
    NumSamples,
    OutputFile,
    Overwrite,
    Part,
    Quiet,
    Seed,
    TrackingUri,
)

__all__ = [
    "CompareOptions",
    "DownloadOptions",
    "ListOptions",
    "RegisterOptions",
    "RollbackOptions",
    "StoreOptions",
    "SyncOptions",
]


@dataclass(frozen=True, kw_only=True)
class StoreOptions:
    """The model and its store."""

    model: ModelName = "mose_med"
    tracking_uri: TrackingUri = None
    quiet: Quiet = False

    def __post_init__(self) -> None:
        check_options(self)


@dataclass(frozen=True)
class RegisterOptions(StoreOptions):
    """Options for registering a version."""

    bundle: Annotated[Path, Option("Zip file of mose-med export bundle.", is_argument=True)]
    champion: Annotated[bool, Option("Make it the champion; the first version always is.")] = False


@dataclass(frozen=True)
class ListOptions(StoreOptions):
    """Options for listing versions."""


@dataclass(frozen=True)
class CompareOptions(StoreOptions):
    """The versions to compare, and the data."""

    first: Annotated[int, Option("Number of a version.", at_least=1, is_argument=True)]
    second: Annotated[int, Option("Number of another version.", at_least=1, is_argument=True)]
    datalist: Datalist
    part: Part = "test"
    num_samples: NumSamples = 16
    seed: Seed = 0
    device: Device = "auto"


@dataclass(frozen=True)
class RollbackOptions(StoreOptions):
    """The version that becomes the champion again."""

    to: Annotated[int | None, Option("Version to go back to.", default_text="the champion before it", at_least=1)] = (
        None
    )


@dataclass(frozen=True)
class DownloadOptions(StoreOptions):
    """The version to write, and the file."""

    output_file: OutputFile
    version: Annotated[int | None, Option("Which version.", default_text="the champion", at_least=1)] = None
    overwrite: Overwrite = False


@dataclass(frozen=True)
class SyncOptions:
    """The trainings to copy, and the store."""

    trainings: Annotated[tuple[Path, ...], Option("Output folders of mose-med train.", is_argument=True)]
    tracking_uri: TrackingUri = None
    quiet: Quiet = False
