"""The ``mose-med`` console script: it parses, calls a pipeline and maps errors to exit codes."""

from __future__ import annotations

from typing import Annotated

import typer

from pipelines.calibrate import command as calibrate
from pipelines.common.console import ExitCode
from pipelines.common.processes import keep_current_folder_out
from pipelines.demo import command as demo
from pipelines.doctor import command as doctor
from pipelines.evaluate import command as evaluate
from pipelines.export import command as export
from pipelines.infer import command as infer
from pipelines.models import command as models
from pipelines.prepare import command as prepare
from pipelines.report import command as report
from pipelines.retrain import command as retrain
from pipelines.train import command as train

__all__ = ["app", "invoke", "main"]

app = typer.Typer(
    name="mose-med",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def main() -> None:
    """Run the command line of this process and exit with its code."""
    keep_current_folder_out()
    app(prog_name="mose-med")


def invoke(arguments: list[str]) -> int:
    """Run the command line ``arguments`` (without the program's name) and return the exit code."""
    try:
        app(arguments, prog_name="mose-med")
    except SystemExit as stop:
        return int(stop.code or 0)
    return int(ExitCode.DONE)


def _version(wanted: bool) -> None:
    if wanted:
        from mose_med import __version__

        typer.echo(__version__)
        raise typer.Exit


@app.callback()
def _root(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """Distributions of segmentations: learn what several experts would draw, and how probable each outline is."""


for _module in (demo, prepare, train, calibrate, evaluate, infer, report, retrain, models, export, doctor):
    _module.register(app)
