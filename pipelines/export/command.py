"""``mose-med export``: models and data in the form that other programs take."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from pipelines.common.options import Checkpoint, Datalist, OutputDir, Overwrite, Quiet, command

__all__ = ["register"]


class Consensus(StrEnum):
    """How one mask is made of those of several raters."""

    MAJORITY = "majority"
    STAPLE = "staple"


def register(app: typer.Typer) -> None:
    """Add the group and its commands."""
    group = typer.Typer(no_args_is_help=True, help="Write models and data in the form that other programs take.")
    app.add_typer(group, name="export")
    command(group)(bundle)
    command(group)(nnunet)


def bundle(
    checkpoint: Checkpoint,
    output_file: Annotated[Path, typer.Option(help="Zip file to write.", show_default=False)],
    evaluation: Annotated[
        Path | None,
        typer.Option(
            help="Folder of mose-med evaluate with the scores of this checkpoint, for the model card.",
            show_default=False,
        ),
    ] = None,
    bundle: Annotated[
        str | None,
        typer.Option(help="Which bundle the model belongs to.", show_default="that of the training, or lidc"),
    ] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace the zip file.")] = False,
    quiet: Quiet = False,
) -> None:
    """A trained model as one zip: weights, TorchScript that needs PyTorch alone, configs, model card, SHA-256."""
    from pipelines.export.bundle import ExportBundleOptions, export_bundle

    export_bundle(ExportBundleOptions(checkpoint, output_file, evaluation, bundle, overwrite))


def nnunet(
    datalist: Datalist,
    output_dir: OutputDir,
    consensus: Annotated[Consensus, typer.Option(help="How one mask is made of those of all raters.")] = (
        Consensus.MAJORITY
    ),
    channel: Annotated[str, typer.Option(help="Name of the image channel; nnU-Net treats CT by HU.")] = "CT",
    overwrite: Overwrite = False,
    quiet: Quiet = False,
) -> None:
    """A datalist in nnU-Net's raw layout: imagesTr, labelsTr, dataset.json."""
    from pipelines.export.nnunet import ExportNnunetOptions, export_nnunet

    export_nnunet(
        ExportNnunetOptions(
            datalist=datalist,
            output_dir=output_dir,
            consensus=consensus.value,
            channel=channel,
            overwrite=overwrite,
            quiet=quiet,
        )
    )
