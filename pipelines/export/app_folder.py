"""Folders that other programs start as an application: files from templates, and the weights as a bundle."""

from __future__ import annotations

import logging
import shutil
import sys
from importlib.resources import files
from pathlib import Path

from mose_med import __version__
from mose_med.errors import ConfigError
from mose_med.weights.files import weights_file
from mose_med.weights.shipped import chosen_checkpoint
from pipelines.export.bundle import export_bundle
from pipelines.export.options import ExportAppOptions, ExportBundleOptions

__all__ = ["export_deploy_app", "export_label_app"]

_LOGGER = logging.getLogger(__name__)


def export_label_app(options: ExportAppOptions) -> Path:
    """Write the folder that a server of MONAI Label is pointed at; its trainings stay.

    Raises:
        ConfigError: if the folder is not empty, or the checkpoint is not suitable.
        DataError: if the checkpoint is damaged.
    """
    _write_app(options, "pipelines.monailabel", Path("model") / "exported.zip")
    _LOGGER.info("start the server with %s STUDIES", options.output_dir / "start.sh")
    return options.output_dir


def export_deploy_app(options: ExportAppOptions) -> Path:
    """Write the folder that MONAI Deploy packages.

    Raises:
        ConfigError: if the folder is not empty, or the checkpoint is not suitable.
        DataError: if the checkpoint is damaged.
    """
    _write_app(options, "pipelines.deploy", Path("models") / "mose" / "exported.zip")
    _LOGGER.info("package it with %s TAG", options.output_dir / "package.sh")
    return options.output_dir


def _write_app(options: ExportAppOptions, package: str, weights: Path) -> None:
    """Write the weights, and the files in ``template`` of a package; ``name.py.txt`` becomes ``name.py``."""
    folder, overwrite = options.output_dir, options.overwrite
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())) and not overwrite:
        raise ConfigError(f"{folder} is not empty: name another folder or add --overwrite")
    checkpoint = chosen_checkpoint(options.checkpoint)
    if checkpoint.suffix == ".zip" and options.bundle is not None:
        raise ConfigError(f"--bundle applies only to a checkpoint, {checkpoint} is a bundle already: leave it out")
    target, template = folder / weights, list((files(package) / "template").iterdir())
    _require_own(folder, target, [_name(file.name) for file in template])
    target.parent.mkdir(parents=True, exist_ok=True)
    _write_weights(target, checkpoint, options.bundle)
    for file in template:
        text = file.read_text(encoding="utf-8").replace("@PYTHON@", sys.executable).replace("@VERSION@", __version__)
        path = folder / _name(file.name)
        path.write_text(text, encoding="utf-8")
        path.chmod(0o755 if path.suffix == ".sh" else 0o644)


def _name(template: str) -> str:
    return template.removesuffix(".txt") if template.endswith(".py.txt") else template


def _require_own(folder: Path, weights: Path, names: list[str]) -> None:
    """Refuse to replace other files: an application always has weights."""
    in_the_way = [name for name in sorted(names) if (folder / name).exists()]
    if in_the_way and not weights.is_file():
        raise ConfigError(f"{folder} holds {in_the_way[0]} and is not such an application: name another folder")


def _write_weights(target: Path, checkpoint: Path, bundle: str | None) -> None:
    if checkpoint.suffix == ".zip":
        shutil.copyfile(checkpoint, target)
        return
    with weights_file(checkpoint) as path:
        export_bundle(ExportBundleOptions(path, target, bundle=bundle, overwrite=True))
