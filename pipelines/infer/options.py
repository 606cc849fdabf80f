"""Options of inference: what decides a result, and what belongs to the run that computes it."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

from mose_med.case_maps import DEFAULT_OUTPUTS, OUTPUTS, MapStorage, outputs_in_order
from mose_med.errors import ConfigError
from mose_med.lesion_rules import DEPTH_MM, LESION_THRESHOLD, MIN_LESION_ML, MIN_SCORE, OVERLAP, REACH_MM
from mose_med.options import Limits, Option, check_options
from pipelines.common.options import AcceptVersion, CodesName, Device, Overwrite, Quiet, Seed, Threads

__all__ = ["InferOptions", "ListSeriesOptions", "ResultOptions", "ShippedOrCheckpoint", "Source"]

_READING = "How INPUT is read"
_COLUMNS = "x_ras_mm,y_ras_mm,z_ras_mm or x_lps_mm,y_lps_mm,z_lps_mm"

ShippedOrCheckpoint = Annotated[
    Path | None, Option("Weights written by mose-med train, or a bundle.", default_text="shipped")
]
Source = Annotated[
    Path | None,
    Option("DICOM folder or zip, or NIfTI, NRRD or MetaImage file, in HU.", is_argument=True, metavar="INPUT"),
]
SliceSpacing = Annotated[
    Literal["refuse", "resample"],
    Option("DICOM slices missing or not equally spaced: resample interpolates.", panel=_READING),
]
GantryTilt = Annotated[
    Literal["refuse", "correct"],
    Option("Slices of a tilted gantry: correct lays them on a right-angled grid.", panel=_READING),
]
NiftiTransform = Annotated[
    Literal["auto", "sform", "qform", "centre"],
    Option(
        "Where NIfTI lies: auto takes the sform where it has one, else the qform; centre takes the centre for the "
        "origin.",
        panel=_READING,
    ),
]


def _kinds(text: str) -> tuple[str, ...]:
    return outputs_in_order(kind.strip() for kind in text.split(",") if kind.strip())


@dataclass(frozen=True, kw_only=True)
class ResultOptions:
    """What, besides weights and input, decides the files of a case: the same for all cases of an output folder.

    It is recorded in ``options.json`` and in every ``provenance.json``; another value is another result.
    ``dicom_seg_obstacle`` is not recorded: a folder may be gone on with in the other way.

    Attributes:
        depth_mm: how far above and below a position to look.
        reach_mm: how far from a position its lesion may begin.
    """

    region: Annotated[Literal["lungs", "full"], Option("Where to look without a nodule list.")] = "lungs"
    overlap: Annotated[
        float, Option("Share of a window that its neighbour holds too, in a search.", at_least=0, below=1)
    ] = OVERLAP
    depth_mm: Annotated[float, Limits(at_least=0)] = DEPTH_MM
    reach_mm: Annotated[float, Limits(at_least=0)] = REACH_MM
    lesion_threshold: Annotated[
        float, Option("Marginal probability above which voxels are lesion.", above=0, below=1)
    ] = LESION_THRESHOLD
    min_lesion_ml: Annotated[float, Option("Smallest lesion that a search reports, in ml.", at_least=0)] = MIN_LESION_ML
    min_score: Annotated[
        float, Option("Least score of a box, of --nodules in JSON.", at_least=0, at_most=1, panel=_READING)
    ] = MIN_SCORE
    slice_spacing: SliceSpacing = "refuse"
    gantry_tilt: GantryTilt = "refuse"
    nifti_transform: NiftiTransform = "auto"
    samples: Annotated[int, Option("Samples per expert.", at_least=1)] = 4
    codes: CodesName = "quadrature"
    form: Annotated[Literal["compact", "standard"], Option("standard writes equally probable samples besides.")] = (
        "compact"
    )
    maps: Annotated[
        MapStorage,
        Option("Probabilities and entropies: scaled, as int16 off by 1/2048 at most, or full, as float32."),
    ] = "scaled"
    outputs: Annotated[
        tuple[str, ...],
        Option(
            f"Maps to write: all, or some of {','.join(OUTPUTS)}.",
            typed=str,
            parse=_kinds,
            default=",".join(DEFAULT_OUTPUTS),
            metavar="KIND,..",
        ),
    ] = DEFAULT_OUTPUTS
    dicom_seg: Annotated[
        bool,
        Option(
            "Write seg.dcm, probability_seg.dcm and report_sr.dcm.", can_be_negated=True, default_text="with --dicomweb"
        ),
    ] = False
    dicom_seg_obstacle: Annotated[
        Literal["refuse", "skip"], Option("Study of which --dicom-seg can make no objects: skip writes all else.")
    ] = "refuse"
    keep_identity: Annotated[bool, Option("Tell patient, UIDs and source in provenance.json and summary.csv.")] = False
    report: Annotated[bool, Option("Write report.html, which opens in a browser, and a sheet for each lesion.")] = False
    seed: Seed = 0
    sw_batch_size: Annotated[
        int, Option("Windows that the network is given at once; fewer need less memory.", at_least=1)
    ] = 16

    def result_options(self) -> ResultOptions:
        """These options alone, of whatever they are part of."""
        return ResultOptions(**{field.name: getattr(self, field.name) for field in dataclasses.fields(ResultOptions)})

    def to_dict(self) -> dict[str, Any]:
        """Plain types, by name."""
        options = dataclasses.asdict(self.result_options())
        del options["dicom_seg_obstacle"]
        return options

    def folder_options(self, weights_sha256: str) -> dict[str, Any]:
        """What all cases of an output folder have in common."""
        recorded = {name: value for name, value in self.to_dict().items() if name != "sw_batch_size"}
        recorded["outputs"] = outputs_in_order(self.outputs)
        return recorded | {"command": "infer", "weights_sha256": weights_sha256}

    def check(self) -> None:
        """Check the values, and that what they need is installed.

        Raises:
            ConfigError: naming the option, the rule and the value.
            MissingDependencyError: if a report or DICOM objects are wanted and the package for them is not installed.
        """
        check_options(self)
        if self.dicom_seg:
            from mose_med.io.dicom.source import require_highdicom

            require_highdicom()
        missing = set(DEFAULT_OUTPUTS) - set(outputs_in_order(self.outputs))
        if self.report and missing:
            raise ConfigError(f"the report shows {', '.join(outputs_in_order(missing))}: add them to --outputs")
        if self.report:
            from mose_med.report.niivue import require_niivue

            require_niivue()


@dataclass(frozen=True)
class InferOptions(ResultOptions):
    """What to infer, and how: without ``source``, a study of an archive; without ``nodules``, the whole region."""

    source: Source
    output_dir: Annotated[
        Path,
        Option(
            "Folder for everything that is written; a URL for many cases.",
            typed=str,
            parse=Path,
            default_text="required",
        ),
    ]
    checkpoint: ShippedOrCheckpoint = None
    nodules: Annotated[
        Path | None,
        Option(f"Positions for INPUT: CSV in mm with {_COLUMNS}, or JSON of MONAI's lung nodule detection."),
    ] = None
    lung_mask: Annotated[
        Path | None, Option("Volume that is not 0 in the lungs of INPUT.", default_text="found by threshold")
    ] = None
    series: Annotated[
        str | None,
        Option(
            "SeriesInstanceUID to read of INPUT, or its number in --list-series.",
            default_text="1 of that list",
            panel=_READING,
        ),
    ] = None
    dicomweb: Annotated[
        str | None,
        Option(
            "URL of a DICOM archive to take --study from and store results in; credentials from "
            "MOSE_MED_DICOMWEB_USER and _PASSWORD, or _TOKEN, or ~/.netrc."
        ),
    ] = None
    study: Annotated[str | None, Option("StudyInstanceUID in the archive.")] = None
    ca_bundle: Annotated[
        Path | None, Option("Certificates of authorities to trust for the archive.", default_text="the usual ones")
    ] = None
    device: Device = "auto"
    threads: Threads = None
    quiet: Quiet = False
    overwrite: Overwrite = False
    accept_version: AcceptVersion = False
    acquisition: Annotated[
        int | None,
        Option(
            "Acquisition to read of a DICOM series that holds the same places more than once.",
            at_least=0,
            panel=_READING,
        ),
    ] = None

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
                raise ConfigError(f"{option} goes with --dicomweb URL, got {value} without it")
        if self.lung_mask is not None and (self.nodules is not None or self.region != "lungs"):
            other = "--nodules" if self.nodules is not None else f"--region {self.region}"
            raise ConfigError(f"--lung-mask goes with --region lungs, got {other}: give one of them")


@dataclass(frozen=True)
class ListSeriesOptions:
    """Which input to print the series of."""

    source: Source
    list_series: Annotated[bool, Option("Only print the CT series of INPUT.", panel=_READING)] = False
    slice_spacing: SliceSpacing = "refuse"
    gantry_tilt: GantryTilt = "refuse"
