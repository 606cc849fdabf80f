"""``mose-med export``: models and data for other programs."""

from __future__ import annotations

from typing import Any

import typer

from pipelines.common.command_line.command import command
from pipelines.common.imports import loading
from pipelines.export.options import ExportAppOptions, ExportBundleOptions, ExportNnunetOptions

__all__ = ["register"]


def register(app: typer.Typer) -> None:
    """Add the group and its commands."""
    group = typer.Typer(no_args_is_help=True, help="Write models and data for other programs.")
    app.add_typer(group, name="export")
    command(
        group,
        examples=(
            "mose-med export bundle --checkpoint run/best.pt --output-file lung.zip",
            "mose-med export bundle --checkpoint run/best.pt --evaluation run/evaluation --output-file lung.zip",
            "mose-med export bundle --checkpoint run/best.pt --self-contained --output-file lung_for_the_zoo.zip",
        ),
    )(bundle)
    command(
        group,
        examples=(
            "mose-med export nnunet --datalist data/dataset.json --output-dir nnUNet_raw/Dataset501_LIDC",
            "mose-med export nnunet --datalist data/dataset.json --output-dir Dataset501_LIDC --consensus staple",
        ),
    )(nnunet)
    for name, function in (("label-app", label_app), ("deploy-app", deploy_app)):
        line = f"mose-med export {name} app"
        command(group, name, examples=(line, f"{line} --checkpoint run/best.pt"))(function)


def bundle(options: ExportBundleOptions) -> dict[str, Any]:
    """A trained model as one zip: weights, TorchScript that needs only PyTorch, configs, model card, SHA-256."""
    with loading():
        from pipelines.export.bundle import export_bundle

    return {"bundle": export_bundle(options)}


def nnunet(options: ExportNnunetOptions) -> dict[str, Any]:
    """A datalist in nnU-Net's raw layout: imagesTr, labelsTr, dataset.json."""
    with loading():
        from pipelines.export.nnunet import export_nnunet

    return {"folder": export_nnunet(options)}


def label_app(options: ExportAppOptions) -> dict[str, Any]:
    """An app for MONAI Label: annotate in 3D Slicer or OHIF; DIR/start.sh starts the server."""
    with loading():
        from pipelines.export.app_folder import export_label_app

    return {"folder": export_label_app(options)}


def deploy_app(options: ExportAppOptions) -> dict[str, Any]:
    """An application for MONAI Deploy: DICOM in, SEG, SR and report out; DIR/package.sh makes the image."""
    with loading():
        from pipelines.export.app_folder import export_deploy_app

    return {"folder": export_deploy_app(options)}
