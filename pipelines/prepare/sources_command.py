"""``mose-med prepare`` for files other than LIDC's own."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from pipelines.common.console import ExitCode
from pipelines.common.options import (
    KeepGoing,
    OutputDir,
    Overwrite,
    Quiet,
    Spacing,
    Split,
    SplitSalt,
    command,
    spacing_mm,
)

__all__ = ["register"]


def register(group: typer.Typer) -> None:
    """Add the commands to the group ``prepare``."""
    command(group)(community)
    command(group, "rater-masks")(rater_masks)
    command(group)(cityscapes)


def community(
    file: Annotated[
        Path, typer.Argument(metavar="FILE", help="data_lidc.pickle or data_lidc.hdf5.", show_default=False)
    ],
    output_dir: OutputDir,
    undo_mask_offset: Annotated[
        bool, typer.Option("--undo-mask-offset", help="Move the pickle's masks by one pixel, where the contours are.")
    ] = False,
    split: Split = None,
    split_salt: SplitSalt = "",
    keep_going: KeepGoing = False,
    overwrite: Overwrite = False,
    quiet: Quiet = False,
) -> ExitCode:
    """LIDC slices as they circulate in the community (HDF5 needs the extra community)."""
    from pipelines.prepare.community import PrepareCommunityOptions, prepare_community

    options = PrepareCommunityOptions(
        file=file,
        output_dir=output_dir,
        undo_mask_offset=undo_mask_offset,
        split_csv=split,
        split_salt=split_salt,
        keep_going=keep_going,
        overwrite=overwrite,
        quiet=quiet,
    )
    return prepare_community(options).exit_code


def rater_masks(
    source: Annotated[
        Path,
        typer.Argument(
            metavar="SOURCE",
            help="Folder of <case>/image.nii.gz and <case>/rater-<name>.nii.gz, or CSV of case,image,rater,mask.",
            show_default=False,
        ),
    ],
    output_dir: OutputDir,
    classes: Annotated[
        str, typer.Option(help="Names of the values 0, 1, .. of the masks, background first, with commas.")
    ] = "background,lesion",
    crop: Annotated[int, typer.Option(min=1, help="Side of the window, in voxels.")] = 128,
    spacing: Spacing = "native",
    layer: Annotated[
        str | None,
        typer.Option(
            help="Segment, by name, or layer, from 0, to read of 3D Slicer's .seg.nrrd masks.",
            show_default="the only one",
        ),
    ] = None,
    acquisition: Annotated[
        int | None,
        typer.Option(min=0, help="Acquisition to read of DICOM images that hold several.", show_default=False),
    ] = None,
    name: Annotated[str, typer.Option(help="Name of the data set.")] = "rater masks",
    keep_ids: Annotated[
        bool, typer.Option("--keep-ids", help="Write the ids of cases and patients as they are, not their keyed hash.")
    ] = False,
    split: Split = None,
    split_salt: SplitSalt = "",
    keep_going: KeepGoing = False,
    overwrite: Overwrite = False,
    quiet: Quiet = False,
) -> ExitCode:
    """One's own images with masks of one or more raters (NIfTI, NRRD, MetaImage, DICOM SEG), and how far they agree."""
    from pipelines.prepare.rater_masks import PrepareRaterMasksOptions, prepare_rater_masks

    options = PrepareRaterMasksOptions(
        source=source,
        output_dir=output_dir,
        classes=tuple(part.strip() for part in classes.split(",")),
        roi_size=(crop, crop),
        spacing_mm=spacing_mm(spacing),
        name=name,
        layer=layer,
        keep_ids=keep_ids,
        acquisition=acquisition,
        split_csv=split,
        split_salt=split_salt,
        keep_going=keep_going,
        overwrite=overwrite,
        quiet=quiet,
    )
    return prepare_rater_masks(options).exit_code


def cityscapes(
    root: Annotated[
        Path,
        typer.Option(help="Folder that holds leftImg8bit and gtFine.", show_default=False),
    ],
    output_dir: OutputDir,
    predictions: Annotated[
        Path | None,
        typer.Option(help="PNG of label ids that another model predicts: a fourth input channel.", show_default=False),
    ] = None,
    keep_going: KeepGoing = False,
    overwrite: Overwrite = False,
    quiet: Quiet = False,
) -> ExitCode:
    """Multimodal Cityscapes: street scenes whose five class flips give 32 modes of known probability."""
    from pipelines.prepare.cityscapes import PrepareCityscapesOptions, prepare_cityscapes

    options = PrepareCityscapesOptions(
        root=root,
        output_dir=output_dir,
        predictions=predictions,
        keep_going=keep_going,
        overwrite=overwrite,
        quiet=quiet,
    )
    return prepare_cityscapes(options).exit_code
