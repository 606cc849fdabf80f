"""``mose-med infer``."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer

from mose_med.case_maps import DEFAULT_OUTPUTS, OUTPUTS, outputs_in_order
from mose_med.errors import ConfigError
from pipelines.common.console import ExitCode
from pipelines.common.options import (
    AcceptVersion,
    CodesName,
    Device,
    Overwrite,
    Quiet,
    Seed,
    Threads,
    command,
    real_number,
)
from pipelines.infer import input_options as read
from pipelines.infer import many_options as many

__all__ = ["register"]

_COLUMNS = "x_ras_mm,y_ras_mm,z_ras_mm or x_lps_mm,y_lps_mm,z_lps_mm"


class Region(StrEnum):
    """Where to look without a nodule list."""

    LUNGS = "lungs"
    FULL = "full"


class Form(StrEnum):
    """How samples are drawn."""

    COMPACT = "compact"
    STANDARD = "standard"


class MapStorageName(StrEnum):
    """How probabilities and entropies are stored."""

    SCALED = "scaled"
    FULL = "full"


def register(app: typer.Typer) -> None:
    """Add the command."""
    command(app)(infer)


def infer(
    source: Annotated[
        Path | None,
        typer.Argument(
            metavar="INPUT", help="DICOM folder or zip, or NIfTI, NRRD or MetaImage file, in HU.", show_default=False
        ),
    ] = None,
    *,
    output_dir: Annotated[
        str | None,
        typer.Option(help="Folder for everything that is written; a URL for many cases.", show_default="required"),
    ] = None,
    nodules: Annotated[
        Path | None,
        typer.Option(
            help=f"Positions for INPUT: CSV in mm with {_COLUMNS}, or JSON of MONAI's lung nodule detection.",
            show_default=False,
        ),
    ] = None,
    region: Annotated[
        Region | None,
        typer.Option(help="Where to look without a nodule list.", show_default="lungs"),
    ] = None,
    lung_mask: Annotated[
        Path | None,
        typer.Option(help="Volume that is not 0 in the lungs of INPUT.", show_default="found by threshold"),
    ] = None,
    checkpoint: Annotated[
        Path | None, typer.Option(help="Weights written by mose-med train, or a bundle.", show_default="shipped")
    ] = None,
    overlap: Annotated[
        float,
        typer.Option(
            help="Share of a window that its neighbour holds too, in a search.", **real_number(at_least=0, below=1)
        ),
    ] = 0.25,
    lesion_threshold: Annotated[
        float, typer.Option(help="Marginal probability above which voxels are lesion.", **real_number(above=0, below=1))
    ] = 0.5,
    min_lesion_ml: Annotated[
        float, typer.Option(help="Smallest lesion that a search reports, in ml.", **real_number(at_least=0))
    ] = 0.014,
    min_score: read.MinScore = 0.5,
    series: read.Series = None,
    acquisition: read.Acquisition = None,
    list_series: read.ListSeries = False,
    slice_spacing: read.SliceSpacing = read.SliceSpacingName.REFUSE,
    gantry_tilt: read.GantryTilt = read.GantryTiltName.REFUSE,
    nifti_transform: read.NiftiTransform = read.NiftiTransformName.AUTO,
    samples: Annotated[int, typer.Option(min=1, help="Samples per expert.")] = 4,
    codes: Annotated[
        CodesName, typer.Option(help="Codes of the samples: points that stand for each expert, or draws.")
    ] = CodesName.QUADRATURE,
    form: Annotated[Form, typer.Option(help="standard writes equally probable samples besides.")] = Form.COMPACT,
    maps: Annotated[
        MapStorageName,
        typer.Option(help="Probabilities and entropies: scaled, as int16 off by 1/2048 at most, or full, as float32."),
    ] = MapStorageName.SCALED,
    outputs: Annotated[
        str, typer.Option(help=f"Maps to write: all, or some of {','.join(OUTPUTS)}.", metavar="KIND,..")
    ] = ",".join(DEFAULT_OUTPUTS),
    dicom_seg: Annotated[
        bool | None,
        typer.Option(
            "--dicom-seg/--no-dicom-seg",
            help="Write seg.dcm, probability_seg.dcm and report_sr.dcm.",
            show_default="with --dicomweb",
        ),
    ] = None,
    dicom_seg_obstacle: read.DicomSegObstacle = read.DicomSegObstacleName.REFUSE,
    keep_identity: Annotated[
        bool, typer.Option("--keep-identity", help="Tell patient, UIDs and source in provenance.json and summary.csv.")
    ] = False,
    report: Annotated[
        bool, typer.Option("--report", help="Write report.html, which opens in a browser, and a sheet for each lesion.")
    ] = False,
    dicomweb: Annotated[
        str | None,
        typer.Option(
            help="URL of a DICOM archive to take --study from and store results in; credentials from "
            "MOSE_MED_DICOMWEB_USER and _PASSWORD, or _TOKEN, or ~/.netrc.",
            show_default=False,
        ),
    ] = None,
    study: Annotated[str | None, typer.Option(help="StudyInstanceUID in the archive.", show_default=False)] = None,
    ca_bundle: Annotated[
        Path | None,
        typer.Option(help="Certificates of authorities to trust for the archive.", show_default="the usual ones"),
    ] = None,
    seed: Seed = 0,
    device: Device = "auto",
    threads: Threads = None,
    sw_batch_size: Annotated[
        int, typer.Option(min=1, help="Windows that the network is given at once; fewer need less memory.")
    ] = 16,
    overwrite: Overwrite = False,
    accept_version: AcceptVersion = False,
    quiet: Quiet = False,
    input_dir: many.InputDir = None,
    manifest: many.Manifest = None,
    case_depth: many.CaseDepth = None,
    shard: many.ShardName = None,
    retry_failed: many.RetryFailed = False,
    dry_run: many.DryRun = False,
    case_timeout: many.CaseTimeout = None,
    start_timeout: many.StartTimeout = 600.0,
    workers: many.Workers = None,
    in_flight: many.InFlight = 3,
    engine: many.Engine = many.EngineName.LOCAL,
    ray_address: many.RayAddress = None,
    gpu_share: many.GpuShare = 1.0,
    private_dir: many.PrivateDir = None,
) -> ExitCode:
    """Every plausible outline of the lesions with its probability, as NIfTI on the study's own grid.

    Lesions are those of --nodules, or else what is found in the lungs.

    Give one INPUT, a study of an archive with --dicomweb, or many cases with --input-dir or --manifest. The same
    command again goes on where it stopped.
    """
    if list_series:
        read.list_series(source, slice_spacing, gantry_tilt)
        return ExitCode.DONE
    if output_dir is None:
        raise ConfigError("infer needs a folder for its results: pass --output-dir DIR")
    shared: dict[str, Any] = {
        "checkpoint": checkpoint,
        "samples": samples,
        "codes": codes.value,
        "form": form.value,
        "maps": maps.value,
        "outputs": outputs_in_order(kind.strip() for kind in outputs.split(",") if kind.strip()),
        "dicom_seg": dicomweb is not None if dicom_seg is None else dicom_seg,
        "dicom_seg_obstacle": dicom_seg_obstacle.value,
        "keep_identity": keep_identity,
        "report": report,
        "region": "lungs" if region is None else region.value,
        "overlap": overlap,
        "lesion_threshold": lesion_threshold,
        "min_lesion_ml": min_lesion_ml,
        "slice_spacing": slice_spacing.value,
        "gantry_tilt": gantry_tilt.value,
        "nifti_transform": nifti_transform.value,
        "min_score": min_score,
        "seed": seed,
        "device": device,
        "sw_batch_size": sw_batch_size,
        "overwrite": overwrite,
        "accept_version": accept_version,
        "quiet": quiet,
    }
    cohort: dict[str, Any] = {
        "input_dir": input_dir,
        "manifest": manifest,
        "case_depth": case_depth,
        "shard": shard,
        "retry_failed": retry_failed,
        "dry_run": dry_run,
        "case_timeout_s": case_timeout,
        "start_timeout_s": start_timeout,
        "workers": workers,
        "in_flight": in_flight,
        "engine": engine.value,
        "ray_address": ray_address,
        "gpu_share": gpu_share,
        "private_dir": private_dir,
    }
    if sum(given is not None for given in (source, dicomweb, input_dir, manifest)) != 1:
        raise ConfigError("give exactly one of INPUT, --dicomweb, --input-dir and --manifest")
    if nodules is not None and region is not None:
        raise ConfigError("--region says where to look without a nodule list, got --nodules too: give one of them")
    archive = {"dicomweb": dicomweb, "study": study, "ca_bundle": ca_bundle}
    if source is None and dicomweb is None:
        _refuse_for_many(nodules=nodules, series=series, acquisition=acquisition, lung_mask=lung_mask)
        _refuse_without_archive(archive)
        return many.infer_many(output_dir, shared | cohort | {"threads": threads or 1})
    many.refuse_for_one(cohort)
    own = {"nodules": nodules, "lung_mask": lung_mask, "series": series, "acquisition": acquisition, "threads": threads}
    _infer_one(source, Path(output_dir), shared | own | archive)
    return ExitCode.DONE


def _infer_one(source: Path | None, output_dir: Path, options: dict[str, Any]) -> None:
    from pipelines.infer.run import InferOptions, infer

    infer(InferOptions(source, output_dir, **options))


def _refuse_for_many(**options: Any) -> None:
    for name, value in options.items():
        if value is not None:
            option = name.replace("_", "-")
            raise ConfigError(f"--{option} goes with one INPUT: give it by case, in the manifest's column {name}")


def _refuse_without_archive(options: dict[str, Any]) -> None:
    for name, value in options.items():
        if value is not None:
            raise ConfigError(f"--{name.replace('_', '-')} goes with --dicomweb URL, got {value} without it")
