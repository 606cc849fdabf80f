"""Options that decide the result of an inference, besides weights and input: light to import, without PyTorch."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Literal

from mose_med.case_contents.dicom_kinds import DICOM_KINDS, SEG_KINDS, dicom_kinds_in_order
from mose_med.case_contents.lesion_rules import DEPTH_MM, LESION_THRESHOLD, MIN_LESION_ML, MIN_SCORE, REACH_MM
from mose_med.case_contents.maps import DEFAULT_OUTPUTS, OUTPUTS, MapStorage, outputs_in_order
from mose_med.errors import ConfigError
from mose_med.options import Limits, Option, check_options, declared_options

__all__ = [
    "READING_PANEL",
    "RUN_PANEL",
    "CodesName",
    "GantryTilt",
    "NiftiTransform",
    "OptionalPrecision",
    "Precision",
    "Report",
    "ResultOptions",
    "Samples",
    "Seed",
    "SliceSpacing",
]

#: Panels of the help page: how an input is read, and what every command has.
READING_PANEL = "How INPUT is read"
RUN_PANEL = "How it runs"

CodesName = Annotated[
    Literal["quadrature", "random"],
    Option("Codes of the samples: representative points of each expert, or random draws."),
]
Samples = Annotated[int, Option("Samples per expert.", at_least=1)]
Report = Annotated[bool, Option("Write report.html, which opens in a browser, and a sheet for each lesion.")]
Seed = Annotated[int, Option("Random seed.", panel=RUN_PANEL, at_least=0)]
SliceSpacing = Annotated[
    Literal["refuse", "resample"],
    Option("If DICOM slices are missing or unevenly spaced: resample interpolates.", panel=READING_PANEL),
]
GantryTilt = Annotated[
    Literal["refuse", "correct"],
    Option("If the gantry was tilted: correct resamples to a right-angled grid.", panel=READING_PANEL),
]
NiftiTransform = Annotated[
    Literal["auto", "sform", "qform", "centre"],
    Option(
        "Position of a NIfTI volume: auto uses the sform if there is one, else the qform; centre puts the origin at "
        "the centre of the volume.",
        panel=READING_PANEL,
    ),
]


_Precision = Literal["auto", "fp32", "bf16", "fp16"]
_PRECISION = "Precision of the network; auto uses bf16 if it is faster and the results agree."
Precision = Annotated[_Precision, Option(_PRECISION, panel=RUN_PANEL)]
OptionalPrecision = Annotated[_Precision | None, Option(_PRECISION, panel=RUN_PANEL, default_text="as configured")]


def _dicom_kinds(text: str) -> tuple[str, ...]:
    return dicom_kinds_in_order(kind.strip() for kind in text.split(",") if kind.strip())


def _kinds(text: str) -> tuple[str, ...]:
    return outputs_in_order(kind.strip() for kind in text.split(",") if kind.strip())


def _names(option: str, value: Any) -> list[str]:
    """The names that are given, one or several."""
    names = [value] if isinstance(value, str) else value
    listed: list[Any] = list(names) if isinstance(names, Iterable) else [None]
    if not all(isinstance(name, str) for name in listed):
        raise ConfigError(f"{option} must be a name or a list of names, got {value!r}")
    return listed


@dataclass(frozen=True, kw_only=True)
class ResultOptions:
    """Options that, with weights and input, decide the files of a case: the same for all cases of an output folder.

    It is recorded in ``options.json`` and in every ``provenance.json``; another value gives another result.
    ``dicom_seg_obstacle`` is not recorded: a folder may be continued with the other value.

    Attributes:
        depth_mm: how far above and below a position to look.
        reach_mm: how far from a position its lesion may begin.
    """

    region: Annotated[
        Literal["lungs", "full"],
        Option("Where to search if there is no nodule list. A search misses nodules: prefer --nodules."),
    ] = "lungs"
    overlap: Annotated[
        float | None,
        Option(
            "Overlap of neighbouring windows in a search, as a fraction of a window.",
            at_least=0,
            below=1,
            default_text="0.75 over the lungs, 0.25 over everything",
        ),
    ] = None
    depth_mm: Annotated[float, Limits(at_least=0)] = DEPTH_MM
    reach_mm: Annotated[float, Limits(at_least=0)] = REACH_MM
    lesion_threshold: Annotated[
        float, Option("Marginal probability above which voxels are lesion.", above=0, below=1)
    ] = LESION_THRESHOLD
    min_lesion_ml: Annotated[float, Option("Smallest lesion that a search reports, in ml.", at_least=0)] = MIN_LESION_ML
    min_score: Annotated[
        float, Option("Minimum score of a box in a JSON file of --nodules.", at_least=0, at_most=1, panel=READING_PANEL)
    ] = MIN_SCORE
    slice_spacing: SliceSpacing = "refuse"
    gantry_tilt: GantryTilt = "refuse"
    nifti_transform: NiftiTransform = "auto"
    samples: Samples = 4
    codes: CodesName = "quadrature"
    form: Annotated[Literal["compact", "standard"], Option("standard also writes equally probable samples.")] = (
        "compact"
    )
    maps: Annotated[
        MapStorage,
        Option("Format of probabilities and entropies: scaled (int16, off by 1/2048 at most) or full (float32)."),
    ] = "scaled"
    outputs: Annotated[
        tuple[str, ...],
        Option(
            f"Maps to write: all, or some of {', '.join(OUTPUTS)}.",
            typed=str,
            parse=_kinds,
            default=",".join(DEFAULT_OUTPUTS),
            default_text=", ".join(DEFAULT_OUTPUTS),
            metavar="KIND,..",
        ),
    ] = DEFAULT_OUTPUTS
    dicom_seg: Annotated[
        bool,
        Option(
            "Write seg.dcm, probability_seg.dcm and report_sr.dcm: --dicom seg,fractional,sr.",
            can_be_negated=True,
            default_text="only with --dicomweb",
        ),
    ] = False
    dicom: Annotated[
        tuple[str, ...],
        Option(
            f"DICOM objects to write as well: all, or some of {', '.join(DICOM_KINDS)}.",
            typed=str,
            parse=_dicom_kinds,
            default="",
            default_text="none",
            metavar="KIND,..",
        ),
    ] = ()
    dicom_seg_obstacle: Annotated[
        Literal["refuse", "skip"], Option("If no DICOM objects can be made of a study: skip writes everything else.")
    ] = "refuse"
    keep_identity: Annotated[bool, Option("Include patient, UIDs and source in provenance.json and summary.csv.")] = (
        False
    )
    report: Report = False
    precision: Precision = "auto"
    seed: Seed = 0
    sw_batch_size: Annotated[int, Option("Windows in a batch; fewer need less memory.", at_least=1)] = 16

    @classmethod
    def of(cls, options: Mapping[str, Any], base: ResultOptions | None = None) -> ResultOptions:
        """Checked options by their names, the others as in ``base`` or as they are by default.

        Raises:
            ConfigError: if there is no such option, or a value is invalid.
        """
        known = [field.name for field in dataclasses.fields(ResultOptions)]
        unknown = next((name for name in options if name not in known), None)
        if unknown is not None:
            raise ConfigError(f"option must be one of {', '.join(known)}, got {unknown!r}")
        given = dict(options)
        for name, in_order in (("outputs", outputs_in_order), ("dicom", dicom_kinds_in_order)):
            if name in given:
                given[name] = in_order(_names(name, given[name]))
        made = dataclasses.replace(base or ResultOptions(), **given)
        made.check()
        plain = {each.field: each.plain(getattr(made, each.field)) for each in declared_options(ResultOptions)}
        return dataclasses.replace(made, **plain)

    @property
    def dicom_kinds(self) -> tuple[str, ...]:
        """All kinds of DICOM objects that are written."""
        return dicom_kinds_in_order((*self.dicom, *(SEG_KINDS if self.dicom_seg else ())))

    def result_options(self) -> ResultOptions:
        """Only these options, from any dataclass that contains them."""
        return ResultOptions(**{field.name: getattr(self, field.name) for field in dataclasses.fields(ResultOptions)})

    def to_dict(self) -> dict[str, Any]:
        """Plain types, by name."""
        options = dataclasses.asdict(self.result_options())
        del options["dicom_seg_obstacle"]
        return options

    def folder_options(self, weights_sha256: str) -> dict[str, Any]:
        """The values that all cases of an output folder share."""
        recorded = {name: value for name, value in self.to_dict().items() if name != "sw_batch_size"}
        recorded["outputs"] = outputs_in_order(self.outputs)
        recorded["dicom"] = dicom_kinds_in_order(self.dicom)
        return recorded | {"command": "infer", "weights_sha256": weights_sha256}

    def check(self) -> None:
        """Check the values, and that what they need is installed.

        Raises:
            ConfigError: naming the option, the rule and the value.
            MissingDependencyError: if a report or DICOM objects are wanted and the package for them is not installed.
        """
        check_options(self)
        if self.dicom_kinds:
            from mose_med.io.dicom.source import require_highdicom

            require_highdicom()
        missing = set(DEFAULT_OUTPUTS) - set(outputs_in_order(self.outputs))
        for shows, wanted in (("the report shows", self.report), ("pictures show", "pictures" in self.dicom_kinds)):
            if wanted and missing:
                raise ConfigError(f"{shows} {', '.join(outputs_in_order(missing))}: add them to --outputs")
        if self.report:
            from mose_med.report.niivue import require_niivue

            require_niivue()
