"""``mose-med prepare``: a subcommand for each source."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from mose_med.errors import ConfigError
from pipelines.common.console import ExitCode
from pipelines.common.options import (
    KeepGoing,
    OutputDir,
    Overwrite,
    Quiet,
    Seed,
    Spacing,
    Split,
    command,
    real_number,
    spacing_mm,
)
from pipelines.prepare import sources_command as prepare_sources

__all__ = ["register"]

OutputDirOrNone = Annotated[
    Path | None, typer.Option("--output-dir", help="Folder for everything that is written.", show_default=False)
]
Jobs = Annotated[int, typer.Option(min=1, help="Processes; the result is the same for any number.")]


class SliceChoice(StrEnum):
    """Which slices of a nodule."""

    ALL = "all"
    MAX_AREA = "max-area"


class MissingChoice(StrEnum):
    """What a rater who did not mark a nodule counts as."""

    EMPTY = "empty"
    DROP = "drop"


class LabelChoice(StrEnum):
    """How many raters a training slice has."""

    ALL = "all"
    ONE = "one"


class PhantomForm(StrEnum):
    """What phantoms are written as."""

    DICOM = "dicom"
    DATALIST = "datalist"


def register(app: typer.Typer) -> None:
    """Add the group and its commands."""
    group = typer.Typer(no_args_is_help=True, help="Turn a source into a datalist of multi-rater slices.")
    app.add_typer(group, name="prepare")
    command(group)(lidc)
    command(group)(phantom)
    prepare_sources.register(group)


def lidc(
    lidc_root: Annotated[
        Path | None,
        typer.Option(help="Folder that holds LIDC-IDRI-0001 and so on, with DICOM files below.", show_default=False),
    ] = None,
    output_dir: OutputDirOrNone = None,
    split: Split = None,
    split_salt: Annotated[str, typer.Option(help="Changes which patients the hash puts where.")] = "",
    crop: Annotated[int, typer.Option(min=1, help="Side of the window, in voxels.")] = 128,
    spacing: Spacing = "native",
    min_raters: Annotated[int, typer.Option(min=1, max=4, help="Leave out nodules that fewer raters marked.")] = 1,
    slices: Annotated[
        SliceChoice, typer.Option(help="All annotated slices of a nodule, or the one of largest area.")
    ] = SliceChoice.ALL,
    negatives: Annotated[int, typer.Option(min=0, help="Slices without any nodule, of every scan.")] = 0,
    missing_raters: Annotated[
        MissingChoice, typer.Option(help="A rater who did not mark a nodule: an empty mask, or weight 0.")
    ] = MissingChoice.EMPTY,
    labels: Annotated[
        LabelChoice, typer.Option(help="All raters, or one drawn by the seed for each training slice.")
    ] = LabelChoice.ALL,
    window: Annotated[
        tuple[float, float] | None,
        typer.Option(help="LO HI in HU, recorded as worth looking at; voxels are not clipped.", show_default=False),
    ] = None,
    seed: Seed = 0,
    jobs: Jobs = 1,
    keep_going: KeepGoing = False,
    audit: Annotated[
        bool, typer.Option("--audit", help="Only print what these options would give, counted without any image.")
    ] = False,
    overwrite: Overwrite = False,
    quiet: Quiet = False,
) -> ExitCode:
    """LIDC-IDRI annotations and CT to multi-rater slices (needs the extra lidc)."""
    from data_prep.lidc.collection import CropOptions
    from pipelines.prepare.audit import audit_lidc
    from pipelines.prepare.lidc import PrepareLidcOptions, prepare_lidc

    crops = CropOptions((crop, crop), min_raters, slices.value, negatives, seed, spacing_mm(spacing))
    if audit:
        audit_lidc(crops, split_csv=split, split_salt=split_salt)
        return ExitCode.DONE
    if lidc_root is None or output_dir is None:
        raise ConfigError(f"{'--lidc-root' if lidc_root is None else '--output-dir'} is needed, unless with --audit")
    return prepare_lidc(
        PrepareLidcOptions(
            lidc_root=lidc_root,
            output_dir=output_dir,
            split_csv=split,
            split_salt=split_salt,
            crops=crops,
            window_hu=window,
            missing_raters=missing_raters.value,
            labels=labels.value,
            jobs=jobs,
            keep_going=keep_going,
            overwrite=overwrite,
            quiet=quiet,
        )
    ).exit_code


def phantom(
    output_dir: OutputDir,
    form: Annotated[
        PhantomForm, typer.Option(help="DICOM with LIDC's contours, or a datalist of raters drawn from a known law.")
    ] = PhantomForm.DICOM,
    patients: Annotated[
        int | None,
        typer.Option(
            min=1,
            help="Number of patients: 1 to 20 as DICOM, at least 5 as datalist.",
            show_default="20 as DICOM, 40 as datalist",
        ),
    ] = None,
    noise_hu: Annotated[
        float, typer.Option(help="Standard deviation of the noise, in HU.", **real_number(at_least=0))
    ] = 28.0,
    contrast_hu: Annotated[
        float, typer.Option(help="Solid nodules above lung, in HU.", **real_number(above=0))
    ] = 900.0,
    rater_disagreement: Annotated[
        float | None,
        typer.Option(
            help="Datalist only: half the distance of tight and generous outlines, in mm.",
            show_default="1.5",
            **real_number(at_least=0),
        ),
    ] = None,
    seed: Seed = 0,
    overwrite: Overwrite = False,
    quiet: Quiet = False,
) -> None:
    """CT phantoms: DICOM in LIDC's folder layout (needs the extra lidc), or a datalist with its exact truth."""
    from data_prep.phantom.known_raters import KnownAppearance
    from pipelines.prepare.known_phantom import PrepareKnownPhantomOptions, prepare_known_phantom
    from pipelines.prepare.phantom import PreparePhantomOptions, demo_patients, prepare_phantom

    if form is PhantomForm.DATALIST:
        disagreement = 1.5 if rater_disagreement is None else rater_disagreement
        appearance = KnownAppearance(noise_hu=noise_hu, contrast_hu=contrast_hu, disagreement_mm=disagreement)
        known = PrepareKnownPhantomOptions(
            output_dir, seed, patients or 40, appearance=appearance, overwrite=overwrite, quiet=quiet
        )
        prepare_known_phantom(known)
        return
    if rater_disagreement is not None:
        raise ConfigError("--rater-disagreement needs --form datalist: the outlines of dicom are LIDC-IDRI's own")
    prepare_phantom(
        PreparePhantomOptions(
            output_dir,
            seed,
            demo_patients(patients),
            noise_hu=noise_hu,
            contrast_hu=contrast_hu,
            overwrite=overwrite,
            quiet=quiet,
        )
    )
