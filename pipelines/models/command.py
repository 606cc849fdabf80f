"""``mose-med models``: the versions of a model in an MLflow registry."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import typer

from pipelines.common.command_line.command import command
from pipelines.models.options import (
    CompareOptions,
    DownloadOptions,
    ListOptions,
    RegisterOptions,
    RollbackOptions,
    SyncOptions,
)

__all__ = ["register"]


def register(app: typer.Typer) -> None:
    """Add the group and its commands."""
    group = typer.Typer(no_args_is_help=True, help="Keep, compare and promote the versions of a model (MLflow).")
    app.add_typer(group, name="models")
    command(group, "register", examples=_examples("register lung.zip", "", " --champion"))(register_version)
    command(group, "list", examples=_examples("list", "", " --tracking-uri http://mlflow:5000"))(list_versions)
    command(group, examples=_examples("compare 1 2 --datalist data/dataset.json", "", " --num-samples 50"))(compare)
    command(group, examples=_examples("rollback", "", " --to 3"))(rollback)
    command(group, examples=_examples("download --output-file lung.zip", "", " --version 2"))(download)
    command(group, examples=_examples("sync run --tracking-uri", " http://mlflow:5000", " mlruns"))(sync)


def _examples(start: str, *ends: str) -> tuple[str, ...]:
    return tuple(f"mose-med models {start}{end}" for end in ends)


def register_version(options: RegisterOptions) -> Any:
    """Add a bundle as a version of a model; the first one becomes its champion."""
    from pipelines.models.actions import register_bundle, require_bundle
    from pipelines.models.registry import CHAMPION, Registry

    require_bundle(options.bundle)
    registry = Registry(options.model, options.tracking_uri, create=True)
    version = register_bundle(registry, options.bundle, champion=options.champion)
    champion = ", the champion" if CHAMPION in version.aliases else ""
    typer.echo(f"version {version.number} of {options.model}{champion}")
    return version


def list_versions(options: ListOptions) -> Any:
    """List all versions: the champion, and the parent and comparison of each."""
    from pipelines.models.registry import Registry
    from pipelines.models.report import version_table

    versions = Registry(options.model, options.tracking_uri).versions()
    typer.echo(version_table(versions))
    return {"model": options.model, "versions": versions}


def compare(options: CompareOptions) -> Any:
    """GED, M-IoU and ECE of two versions on the same slices, with paired intervals over patients."""
    import tempfile

    from pipelines.models.actions import compare_versions
    from pipelines.models.registry import Registry
    from pipelines.models.report import comparison_table

    with tempfile.TemporaryDirectory() as folder:
        found = compare_versions(Registry(options.model, options.tracking_uri), options, Path(folder))
    typer.echo(comparison_table(found, (f"version {options.first}", f"version {options.second}")))
    return found


def rollback(options: RollbackOptions) -> Any:
    """Make an earlier version the champion again."""
    from pipelines.models.actions import roll_back
    from pipelines.models.registry import Registry

    before, now = roll_back(Registry(options.model, options.tracking_uri), options.to)
    typer.echo(f"version {now.number} of {options.model} is the champion, version {before.number} was")
    return {"before": before, "now": now}


def download(options: DownloadOptions) -> Any:
    """Write the bundle of a version, for --checkpoint of infer and evaluate."""
    from mose_med.errors import ConfigError
    from pipelines.models.registry import Registry

    target = options.output_file
    if target.exists() and not options.overwrite:
        raise ConfigError(f"{target} exists: name another output file or add --overwrite")
    registry = Registry(options.model, options.tracking_uri)
    found = registry.champion() if options.version is None else registry.version(options.version)
    registry.download(found, target)
    typer.echo(f"version {found.number} of {options.model}: {target}")
    return found


def sync(options: SyncOptions) -> Any:
    """Update the copies of tracked trainings on a server; what is already there is not sent again."""
    from mose_med.errors import ConfigError
    from pipelines.common.tracking_store import VARIABLE
    from pipelines.train.tracked_training import sync_training

    if options.tracking_uri is None:
        raise ConfigError(f"sync needs a store: give --tracking-uri or set {VARIABLE}")
    runs = {}
    for training in options.trainings:
        runs[training] = sync_training(training, options.tracking_uri)
        typer.echo(f"{training}: run {runs[training]}")
    return {"runs": runs}
