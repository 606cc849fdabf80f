"""``mose-med export``: models and data in the form that other programs take."""

from __future__ import annotations

import typer

from pipelines.common.command import command
from pipelines.export.options import ExportBundleOptions, ExportNnunetOptions

__all__ = ["register"]


def register(app: typer.Typer) -> None:
    """Add the group and its commands."""
    group = typer.Typer(no_args_is_help=True, help="Write models and data in the form that other programs take.")
    app.add_typer(group, name="export")
    command(group)(bundle)
    command(group)(nnunet)


def bundle(options: ExportBundleOptions) -> None:
    """A trained model as one zip: weights, TorchScript that needs PyTorch alone, configs, model card, SHA-256."""
    from pipelines.export.bundle import export_bundle

    export_bundle(options)


def nnunet(options: ExportNnunetOptions) -> None:
    """A datalist in nnU-Net's raw layout: imagesTr, labelsTr, dataset.json."""
    from pipelines.export.nnunet import export_nnunet

    export_nnunet(options)
