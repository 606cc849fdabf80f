"""Options of ``mose-med infer`` for one study: what decides its result, and what belongs to the run."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from mose_med.api.options import READING_PANEL, GantryTilt, ResultOptions, SliceSpacing
from mose_med.errors import ConfigError
from mose_med.options import Option
from pipelines.common.options import (
    AcceptVersion,
    Acquisition,
    CaBundle,
    Device,
    Dicomweb,
    Overwrite,
    Quiet,
    Series,
    ShippedOrCheckpoint,
    Threads,
)
from pipelines.common.typed_paths import local_path

__all__ = ["InferOptions", "ListSeriesOptions", "Source"]

_COLUMNS = "x_ras_mm,y_ras_mm,z_ras_mm or x_lps_mm,y_lps_mm,z_lps_mm"

Source = Annotated[
    Path | None,
    Option("DICOM folder or zip, or NIfTI, NRRD or MetaImage file, in HU.", is_argument=True, metavar="INPUT"),
]


def _folder(typed: str) -> Path:
    way_out = "one INPUT is written to a folder, --input-dir and --manifest write to URLs"
    return local_path(typed, "--output-dir", way_out)


@dataclass(frozen=True)
class InferOptions(ResultOptions):
    """What to infer, and how: without ``source``, a study of an archive; without ``nodules``, the whole region."""

    source: Source
    output_dir: Annotated[
        Path,
        Option("Folder for all output.", typed=str, parse=_folder, metavar="FOLDER or URL"),
    ]
    checkpoint: ShippedOrCheckpoint = None
    nodules: Annotated[
        Path | None,
        Option(
            f"Positions for INPUT: CSV in mm with {_COLUMNS}; JSON of MONAI's lung nodule detection; point list or "
            "segmentation of 3D Slicer; label map; folder of TotalSegmentator; DICOM SEG or RTSTRUCT."
        ),
    ] = None
    channels: Annotated[
        tuple[Path, ...],
        Option(
            "File of a further channel of INPUT, on its grid; may be repeated. One NIfTI file may hold all channels.",
            name="channel_file",
            panel=READING_PANEL,
        ),
    ] = ()
    lung_mask: Annotated[
        Path | None, Option("Lung mask of INPUT: a volume, nonzero in the lungs.", default_text="found by threshold")
    ] = None
    series: Series = None
    dicomweb: Dicomweb = None
    study: Annotated[str | None, Option("StudyInstanceUID in the archive.")] = None
    ca_bundle: CaBundle = None
    device: Device = "auto"
    threads: Threads = None
    profile: Annotated[bool, Option("Show the time of each step, as in run.json.")] = False
    quiet: Quiet = False
    overwrite: Overwrite = False
    accept_version: AcceptVersion = False
    acquisition: Acquisition = None

    def check(self) -> None:
        """Check the values, those that decide a result included.

        Raises:
            ConfigError: naming the option, the rule and the value.
        """
        super().check()
        if (self.source is None) == (self.dicomweb is None):
            raise ConfigError("give either INPUT or --dicomweb URL")
        if self.dicomweb is not None and self.study is None:
            raise ConfigError("--dicomweb needs the study to infer: pass --study UID, its StudyInstanceUID")
        for option, value in (("--study", self.study), ("--ca-bundle", self.ca_bundle)):
            if value is not None and self.dicomweb is None:
                raise ConfigError(f"{option} needs --dicomweb URL, got {value} without it")
        if self.channels and self.source is None:
            raise ConfigError("--channel-file applies only to INPUT, got --dicomweb: DICOM has one channel")
        if self.lung_mask is not None and (self.nodules is not None or self.region != "lungs"):
            other = "--nodules" if self.nodules is not None else f"--region {self.region}"
            raise ConfigError(f"--lung-mask applies only to --region lungs, got {other}: give one of them")


@dataclass(frozen=True)
class ListSeriesOptions:
    """Which input to print the series of."""

    source: Source
    list_series: Annotated[bool, Option("Only print the CT series of INPUT.", panel=READING_PANEL)] = False
    slice_spacing: SliceSpacing = "refuse"
    gantry_tilt: GantryTilt = "refuse"
    quiet: Quiet = False
