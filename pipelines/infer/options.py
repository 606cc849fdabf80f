"""Options of inference: what decides a result, and what belongs to the run that computes it."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from mose_med.case_maps import DEFAULT_OUTPUTS, MAP_STORAGES, MapStorage, outputs_in_order
from mose_med.errors import ConfigError
from mose_med.lesion_rules import (
    DEPTH_MM,
    LESION_THRESHOLD,
    MIN_LESION_ML,
    MIN_SCORE,
    OVERLAP,
    REACH_MM,
    LesionRules,
    require_overlap,
)

if TYPE_CHECKING:
    from mose_med.io.dicom.stack import GantryTilt, SliceSpacing
    from mose_med.io.nifti.transforms import NiftiTransform

__all__ = ["InferOptions", "ResultOptions"]


@dataclass(frozen=True, kw_only=True)
class ResultOptions:
    """What, besides weights and input, decides the files of a case: the same for all cases of an output folder.

    It is recorded in ``options.json`` and in every ``provenance.json``; another value is another result.

    Attributes:
        seed: of what is random, together with the voxels of a case.
        samples: S, samples per expert.
        codes: of the compact form: ``quadrature`` points of each expert's Gaussian, or ``random``.
        form: ``standard`` writes samples in the standard form besides, as many as the compact form has.
        region: where to look in a case without listed positions: over the lungs, or everywhere.
        overlap: of neighbouring windows of a slice in a search, as a share of a window.
        depth_mm: how far above and below a position to look.
        reach_mm: how far from a position its lesion may begin.
        lesion_threshold: marginal probability above which voxels are of a lesion.
        min_lesion_ml: smallest lesion that a search reports.
        sw_batch_size: windows per call of the network; of a result it can change the last bits alone, as threads can.
        dicom_seg: write DICOM objects into the folder of the case; DICOM input alone.
        dicom_seg_obstacle: what to do with a study of which no DICOM objects can be made: ``refuse`` it, or ``skip``
            the objects and write the rest. It is not recorded: a folder may be gone on with in the other way.
        keep_identity: tell whose a case is in its provenance and in the summary.
        report: write the review page and a sheet for each lesion into the folder of the case.
        slice_spacing: of DICOM slices that are missing or not equally spaced: ``refuse``, or ``resample``.
        gantry_tilt: of slices of a tilted gantry: ``refuse``, or ``correct``.
        nifti_transform: of NIfTI input: ``auto``, ``sform``, ``qform`` or ``centre``.
        min_score: least score of a box, of nodule lists in JSON.
        maps: how probabilities and entropies are stored: ``scaled``, as int16 in steps of 1/1024, or ``full``, as
            float32.
        outputs: kinds of maps that are written; see :mod:`mose_med.case_maps`.
    """

    seed: int = 0
    samples: int = 4
    codes: Literal["quadrature", "random"] = "quadrature"
    form: Literal["compact", "standard"] = "compact"
    region: Literal["lungs", "full"] = "lungs"
    overlap: float = OVERLAP
    depth_mm: float = DEPTH_MM
    reach_mm: float = REACH_MM
    lesion_threshold: float = LESION_THRESHOLD
    min_lesion_ml: float = MIN_LESION_ML
    sw_batch_size: int = 16
    dicom_seg: bool = False
    dicom_seg_obstacle: Literal["refuse", "skip"] = "refuse"
    keep_identity: bool = False
    report: bool = False
    slice_spacing: SliceSpacing = "refuse"
    gantry_tilt: GantryTilt = "refuse"
    nifti_transform: NiftiTransform = "auto"
    min_score: float = MIN_SCORE
    maps: MapStorage = "scaled"
    outputs: tuple[str, ...] = DEFAULT_OUTPUTS

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
        """Check the values.

        Raises:
            ConfigError: naming the option, the rule and the value.
            MissingDependencyError: if a report or DICOM objects are wanted and the package for them is not installed.
        """
        for name, value, least in (
            ("samples", self.samples, 1),
            ("sw_batch_size", self.sw_batch_size, 1),
            ("seed", self.seed, 0),
            ("depth_mm", self.depth_mm, 0),
        ):
            if not value >= least:
                raise ConfigError(f"{name} must be >= {least}, got {value}")
        for name, text, choices in (
            ("codes", self.codes, ("quadrature", "random")),
            ("form", self.form, ("compact", "standard")),
            ("region", self.region, ("lungs", "full")),
            ("dicom_seg_obstacle", self.dicom_seg_obstacle, ("refuse", "skip")),
            ("slice_spacing", self.slice_spacing, ("refuse", "resample")),
            ("gantry_tilt", self.gantry_tilt, ("refuse", "correct")),
            ("nifti_transform", self.nifti_transform, ("auto", "sform", "qform", "centre")),
            ("maps", self.maps, MAP_STORAGES),
        ):
            if text not in choices:
                raise ConfigError(f"{name} must be {' or '.join(choices)}, got {text!r}")
        if self.dicom_seg:
            from mose_med.io.dicom.source import require_highdicom

            require_highdicom()
        self._check_outputs()
        if self.report:
            from mose_med.report.niivue import require_niivue

            require_niivue()
        require_overlap(self.overlap)
        LesionRules(self.lesion_threshold, self.reach_mm, self.min_lesion_ml)

    def _check_outputs(self) -> None:
        """Check that there are such maps, and that those are written that the report shows."""
        missing = set(DEFAULT_OUTPUTS) - set(outputs_in_order(self.outputs))
        if self.report and missing:
            raise ConfigError(f"the report shows {', '.join(outputs_in_order(missing))}: add them to --outputs")


@dataclass(frozen=True)
class InferOptions(ResultOptions):
    """What to infer, and how.

    Attributes:
        source: DICOM folder or zip, or NIfTI, NRRD or MetaImage file; None for a study of an archive.
        output_dir: gets one folder a case.
        checkpoint: weights, made by ``mose-med train``; None for those that are shipped.
        nodules: CSV of positions in mm, or JSON of boxes; without one the region is searched.
        lung_mask: where the lungs are; found by threshold if None.
        series: SeriesInstanceUID to read, or the number of the series; the first if None.
        dicomweb: URL of a DICOM archive to retrieve a study from and to store DICOM objects in.
        study: StudyInstanceUID of the study in the archive.
        ca_bundle: certificates of the authorities to trust for the archive; the usual ones if None.
        device: ``auto``, ``cpu`` or ``cuda[:n]``.
        threads: of the CPU; all if None.
        quiet: do not show progress.
        overwrite: replace results that were made with other options.
        accept_version: go on in an output that another version made; every case tells which version made it.
        acquisition: number of the acquisition to read of the series; all its slices if None.
    """

    source: Path | None
    output_dir: Path
    checkpoint: Path | None = None
    nodules: Path | None = None
    lung_mask: Path | None = None
    series: str | None = None
    dicomweb: str | None = None
    study: str | None = None
    ca_bundle: Path | None = None
    device: str = "auto"
    threads: int | None = None
    quiet: bool = False
    overwrite: bool = False
    accept_version: bool = False
    acquisition: int | None = None

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
