"""``mose-med models``: the versions of a model in an MLflow registry."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from pipelines.common.options import Datalist, Device, Overwrite, Quiet, Seed, TrackingUri, command

__all__ = ["Model", "register"]

Model = Annotated[str, typer.Option(help="Name of the registered model.")]
_First = Annotated[int, typer.Argument(help="Number of a version.", min=1)]
_Second = Annotated[int, typer.Argument(help="Number of another version.", min=1)]


def register(app: typer.Typer) -> None:
    """Add the group and its commands."""
    group = typer.Typer(no_args_is_help=True, help="Keep, compare and promote the versions of a model (MLflow).")
    app.add_typer(group, name="models")
    command(group, "register")(register_version)
    command(group, "list")(list_versions)
    command(group)(compare)
    command(group)(rollback)
    command(group)(download)
    command(group)(sync)


def register_version(
    bundle: Annotated[Path, typer.Argument(help="Zip file of mose-med export bundle.", show_default=False)],
    model: Model = "mose_med",
    tracking_uri: TrackingUri = None,
    champion: Annotated[
        bool, typer.Option("--champion", help="Make it the champion; the first version always is.")
    ] = False,
    quiet: Quiet = False,
) -> None:
    """Add a bundle as a version of a model; the first one becomes its champion."""
    from pipelines.models.actions import register_bundle
    from pipelines.models.registry import CHAMPION, Registry

    version = register_bundle(Registry(model, tracking_uri, create=True), bundle, champion=champion)
    typer.echo(f"version {version.number} of {model}" + (", the champion" if CHAMPION in version.aliases else ""))


def list_versions(model: Model = "mose_med", tracking_uri: TrackingUri = None, quiet: Quiet = False) -> None:
    """All versions: which is the champion, what each descends from, how it compared."""
    from pipelines.models.registry import Registry
    from pipelines.models.report import version_table

    typer.echo(version_table(Registry(model, tracking_uri).versions()))


def compare(
    first: _First,
    second: _Second,
    datalist: Datalist,
    part: Annotated[str, typer.Option(help="training, validation or test.")] = "test",
    model: Model = "mose_med",
    tracking_uri: TrackingUri = None,
    samples: Annotated[int, typer.Option(min=1, help="Samples per slice.")] = 16,
    seed: Seed = 0,
    device: Device = "auto",
    quiet: Quiet = False,
) -> None:
    """GED, M-IoU and ECE of two versions on the same slices, with paired intervals over patients."""
    import tempfile

    from pipelines.models.actions import CompareOptions, compare_versions
    from pipelines.models.registry import Registry
    from pipelines.models.report import comparison_table

    options = CompareOptions(first, second, datalist, part, samples, seed, device, quiet)
    with tempfile.TemporaryDirectory() as folder:
        found = compare_versions(Registry(model, tracking_uri), options, Path(folder))
    typer.echo(comparison_table(found, (f"version {first}", f"version {second}")))


def rollback(
    model: Model = "mose_med",
    tracking_uri: TrackingUri = None,
    to: Annotated[
        int | None, typer.Option(min=1, help="Version to go back to.", show_default="the one it was promoted over")
    ] = None,
    quiet: Quiet = False,
) -> None:
    """Make an earlier version the champion again."""
    from pipelines.models.actions import roll_back
    from pipelines.models.registry import Registry

    before, now = roll_back(Registry(model, tracking_uri), to)
    typer.echo(f"version {now.number} of {model} is the champion, version {before.number} was")


def download(
    output_file: Annotated[Path, typer.Option(help="Zip file to write.", show_default=False)],
    version: Annotated[int | None, typer.Option(min=1, help="Which version.", show_default="the champion")] = None,
    model: Model = "mose_med",
    tracking_uri: TrackingUri = None,
    overwrite: Overwrite = False,
    quiet: Quiet = False,
) -> None:
    """Write the bundle of a version, as --checkpoint of infer and evaluate takes it."""
    from mose_med.errors import ConfigError
    from pipelines.models.registry import Registry

    if output_file.exists() and not overwrite:
        raise ConfigError(f"{output_file} exists: name another output file or add --overwrite")
    registry = Registry(model, tracking_uri)
    found = registry.champion() if version is None else registry.version(version)
    registry.download(found, output_file)
    typer.echo(f"version {found.number} of {model}: {output_file}")


def sync(
    trainings: Annotated[list[Path], typer.Argument(help="Output folders of mose-med train.", show_default=False)],
    tracking_uri: TrackingUri = None,
    quiet: Quiet = False,
) -> None:
    """Bring the copies of tracked trainings on a server up to date; what is there is not sent again."""
    from mose_med.errors import ConfigError
    from pipelines.common.tracking_store import VARIABLE
    from pipelines.train.tracked_training import sync_training

    if tracking_uri is None:
        raise ConfigError(f"sync needs a store: give --tracking-uri or set {VARIABLE}")
    for training in trainings:
        run_id = sync_training(training, tracking_uri)
        typer.echo(f"{training}: run {run_id}")
