"""The ``mose-med`` console script: it parses, calls a pipeline and maps errors to exit codes."""

from __future__ import annotations

from typing import Annotated

import typer

from pipelines.commands import calibrate, demo, doctor, evaluate, export, infer, models, prepare, report, retrain, train
from pipelines.console import ExitCode
from pipelines.processes import keep_current_folder_out

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
