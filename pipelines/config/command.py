"""``mose-med config``: the settings of a training, and what overlays make of them."""

from __future__ import annotations

from typing import Any

import typer

from pipelines.common.command_line.command import command
from pipelines.config.options import ListConfigOptions, ShowConfigOptions

__all__ = ["register"]


def register(app: typer.Typer) -> None:
    """Add the group and its commands."""
    group = typer.Typer(no_args_is_help=True, help="What a training can be set to, by --config and --set.")
    app.add_typer(group, name="config")
    command(group, "list", examples=("mose-med config list", "mose-med config list --bundle cityscapes"))(list_settings)
    command(
        group,
        "show",
        examples=("mose-med config show --config cosine", "mose-med config show --set network::num_experts=8"),
    )(show)


def list_settings(options: ListConfigOptions) -> dict[str, Any]:
    """Settings of a bundle with their values, and the overlays that --config takes by name."""
    from pipelines.config.run import settings_of
    from pipelines.train.config import overlay_names

    settings, overlays = settings_of(options.bundle), overlay_names(options.bundle)
    typer.echo("\n".join(f"{name}: {value}" for name, value in settings.items()))
    typer.echo(f"overlays: {', '.join(overlays)}")
    return {"bundle": options.bundle, "settings": settings, "overlays": overlays}


def show(options: ShowConfigOptions) -> dict[str, Any]:
    """The merged configuration of a training as YAML, as `mose-med train` would have it."""
    import yaml

    from pipelines.config.run import merged

    config = merged(options)
    typer.echo(yaml.safe_dump(config, sort_keys=False))
    return {"config": config}
