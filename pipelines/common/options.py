"""What every command shares: options of one name and meaning, logging, and the mapping of errors to exit codes."""

from __future__ import annotations

import functools
import inspect
import math
from collections.abc import Callable
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer
from typer.core import TyperCommand

from mose_med.errors import ConfigError
from pipelines.common.console import ExitCode, configure_logging, run_command
from pipelines.common.mlflow_settings import calm_mlflow

__all__ = [
    "AcceptVersion",
    "Bundle",
    "Checkpoint",
    "CodesName",
    "Datalist",
    "Device",
    "KeepGoing",
    "OutputDir",
    "Overwrite",
    "Quiet",
    "Seed",
    "Spacing",
    "Split",
    "SplitSalt",
    "Threads",
    "TrackingUri",
    "command",
    "real_number",
    "spacing_mm",
]

Bundle = Annotated[str, typer.Option(help="lidc, lidc_small or cityscapes.")]
OutputDir = Annotated[Path, typer.Option(help="Folder for everything that is written.", show_default=False)]
Datalist = Annotated[Path, typer.Option(help="dataset.json of a prepare command.", show_default=False)]
Checkpoint = Annotated[
    Path, typer.Option(help="Weights written by mose-med train, or a bundle that holds them.", show_default=False)
]
Split = Annotated[
    Path | None, typer.Option(help="CSV of patient_id,part; without it, by hash of the patient.", show_default=False)
]
Spacing = Annotated[
    str, typer.Option(metavar="native|MM", help="In-plane spacing of the window, above 0 mm, or each image's own.")
]
SplitSalt = Annotated[str, typer.Option(help="Changes which patients the hash puts where.")]
KeepGoing = Annotated[
    bool, typer.Option("--keep-going", help="Record a case that cannot be used in failed.csv and go on; exit 1.")
]
Seed = Annotated[int, typer.Option(min=0, help="Seed of everything random.")]
Device = Annotated[str, typer.Option(help="auto, cpu, cuda or cuda:N.")]
Threads = Annotated[int | None, typer.Option(min=1, help="CPU threads; all cores if not given.", show_default=False)]
TrackingUri = Annotated[
    str | None,
    typer.Option(
        help="MLflow server, or folder or URI of another store.",
        envvar="MLFLOW_TRACKING_URI",
        show_envvar=True,
        show_default=False,
    ),
]
Overwrite = Annotated[bool, typer.Option("--overwrite", help="Replace an output folder made with other options.")]
AcceptVersion = Annotated[
    bool, typer.Option("--accept-version", help="Go on in an output folder that another version of mose-med made.")
]
Quiet = Annotated[bool, typer.Option("--quiet", help="No progress bars, warnings and errors only.")]
LogFile = Annotated[Path | None, typer.Option(help="Also write the log to this file.", show_default=False)]
Debug = Annotated[bool, typer.Option("--debug", help="Show where an error comes from.")]

_KEYWORD = inspect.Parameter.KEYWORD_ONLY
_COMMON = (
    inspect.Parameter("log_file", _KEYWORD, default=None, annotation=LogFile),
    inspect.Parameter("debug", _KEYWORD, default=False, annotation=Debug),
)


class CodesName(StrEnum):
    """Where the codes of the compact form come from."""

    QUADRATURE = "quadrature"
    RANDOM = "random"


def real_number(
    *,
    at_least: float | None = None,
    above: float | None = None,
    at_most: float | None = None,
    below: float | None = None,
) -> dict[str, Any]:
    """Limits of an option that is a real number: shown by the help, and checked. NaN and infinity are none.

    Returns:
        Keyword arguments of ``typer.Option``.

    Example:
        >>> real_number(above=0, below=1)["metavar"]
        'FLOAT 0<x<1'
    """
    low = f"{at_least:g}<=" if at_least is not None else f"{above:g}<" if above is not None else ""
    high = f"<={at_most:g}" if at_most is not None else f"<{below:g}" if below is not None else ""

    def check(value: float | None) -> float | None:
        if value is not None and not (
            math.isfinite(value)
            and (at_least is None or value >= at_least)
            and (above is None or value > above)
            and (at_most is None or value <= at_most)
            and (below is None or value < below)
        ):
            raise typer.BadParameter(f"{value:g} is not in the range {low}x{high}.")
        return value

    return {"callback": check, "metavar": f"FLOAT {low}x{high}"}


class ManyValuesCommand(TyperCommand):
    """A command whose repeatable options take several values after one flag: ``--samples 16 50 100``.

    Commands with positional arguments stay as they are: there, a value after a value is the next argument.
    """

    def parse_args(self, ctx: typer.Context, args: list[str]) -> list[str]:  # type: ignore[override]
        """Give every value a flag of its own, then parse as always."""
        flags = {name for option in self.params if getattr(option, "multiple", False) for name in option.opts}
        positional = any(parameter.param_type_name == "argument" for parameter in self.params)
        return super().parse_args(ctx, args if positional else _one_value_a_flag(args, flags))


def _one_value_a_flag(arguments: list[str], flags: set[str]) -> list[str]:
    """Repeat a flag before each of its values.

    Example:
        >>> _one_value_a_flag(["--samples", "16", "50", "--quiet"], {"--samples"})
        ['--samples', '16', '--samples', '50', '--quiet']
    """
    spread: list[str] = []
    current: str | None = None
    for argument in arguments:
        if argument.startswith("-") and not argument[1:].isdigit():
            current = argument if argument in flags else None
            spread.append(argument)
        else:
            spread += [current, argument] if current is not None and spread[-1] != current else [argument]
    return spread


def command(
    group: typer.Typer, name: str | None = None
) -> Callable[[Callable[..., ExitCode | None]], Callable[..., None]]:
    """Register a function as a command of ``group``.

    The command gets ``--log-file`` and ``--debug`` besides its own options (which must have ``quiet``), configures
    logging, and exits with the code that the function returns (None: done) or that its error stands for.
    """

    def register(function: Callable[..., ExitCode | None]) -> Callable[..., None]:
        signature = inspect.signature(function, eval_str=True)

        @functools.wraps(function)
        def run(*, log_file: Path | None, debug: bool, **options: Any) -> None:
            def logged() -> ExitCode | None:
                calm_mlflow()
                configure_logging(quiet=options["quiet"], log_file=log_file, debug=debug)
                return function(**options)

            raise typer.Exit(run_command(logged, debug=debug))

        parameters = [parameter.replace(kind=_KEYWORD) for parameter in signature.parameters.values()]
        run.__signature__ = inspect.Signature([*parameters, *_COMMON])  # type: ignore[attr-defined]
        run.__annotations__ = {parameter.name: parameter.annotation for parameter in (*parameters, *_COMMON)}
        return group.command(name, cls=ManyValuesCommand)(run)

    return register


def spacing_mm(text: str) -> float | None:
    """In-plane spacing that a user names; None if each image keeps its own.

    Raises:
        ConfigError: if it is no length.
    """
    if text == "native":
        return None
    try:
        length = float(text)
    except ValueError:
        length = math.nan
    if not 0 < length < math.inf:
        raise ConfigError(f"spacing must be native or a length > 0 mm, got {text!r}")
    return length
