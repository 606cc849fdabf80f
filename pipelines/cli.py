"""The ``mose-med`` console script: it parses, calls a pipeline and maps errors to exit codes."""

from __future__ import annotations

import io
import sys
from typing import Annotated

import typer
from typer.core import TyperGroup

from pipelines.calibrate import command as calibrate
from pipelines.common.command_line.command import forget_running, running
from pipelines.common.command_line.console import ExitCode, stderr
from pipelines.common.command_line.usage_errors import usage_line
from pipelines.common.command_result import JSON_FLAG, print_document, result_document
from pipelines.common.processes import keep_current_folder_out, wait_without_spinning
from pipelines.config import command as config
from pipelines.demo import command as demo
from pipelines.doctor import command as doctor
from pipelines.evaluate import command as evaluate
from pipelines.export import command as export
from pipelines.infer import command as infer
from pipelines.info import command as info
from pipelines.listen import command as listen
from pipelines.models import command as models
from pipelines.prepare import command as prepare
from pipelines.report import command as report
from pipelines.retrain import command as retrain
from pipelines.train import command as train

__all__ = ["app", "commands_in_order", "invoke", "main"]

#: In the order of the work: look, prepare, train, judge, use, keep up, hand on.
_IN_ORDER = (
    doctor,
    info,
    demo,
    prepare,
    config,
    train,
    evaluate,
    calibrate,
    infer,
    listen,
    report,
    retrain,
    models,
    export,
)


def commands_in_order() -> list[str]:
    """Names of the commands, and of groups of them, in the order of the work."""
    return [module.__name__.split(".")[1] for module in _IN_ORDER]


class _InOrder(TyperGroup):
    """The commands in the order of the work."""

    def list_commands(self, ctx: typer.Context) -> list[str]:  # type: ignore[override]
        """Names of the commands."""
        return commands_in_order()


app = typer.Typer(
    cls=_InOrder,
    name="mose-med",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def main() -> None:
    """Run the command line of this process and exit with its code."""
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="surrogateescape")  # file names that are not UTF-8 are printed with their bytes
    keep_current_folder_out()
    wait_without_spinning()
    sys.exit(invoke(sys.argv[1:]))


def invoke(arguments: list[str]) -> int:
    """Run the command line ``arguments`` (without the program's name) and return the exit code."""
    forget_running()
    try:
        return int(app(arguments, prog_name="mose-med", standalone_mode=False) or ExitCode.DONE)
    except SystemExit as stop:
        return int(stop.code or 0)
    except typer.TyperException as error:
        return _report_usage_error(error, arguments)


def _report_usage_error(error: typer.TyperException, arguments: list[str]) -> int:
    """Report a usage error, for people, and with ``--json`` for programs; without a command, the help was shown."""
    context = getattr(error, "ctx", None)
    name = context.command_path.partition(" ")[2] if context is not None else running()
    line = usage_line(error, arguments, name)
    if error.format_message():
        stderr.print(f"mose-med: {line}", style="bold red", markup=False, highlight=False, soft_wrap=True)
    if JSON_FLAG in arguments:
        print_document(result_document(name, ExitCode.BAD_INPUT, error=line), sys.stdout)
    return int(ExitCode.BAD_INPUT)


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


for _module in _IN_ORDER:
    _module.register(app)
