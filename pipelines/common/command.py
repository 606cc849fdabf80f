"""A command of the command line, made of the dataclass of its options."""

from __future__ import annotations

import functools
import inspect
import sys
import types
from collections.abc import Callable, Mapping
from contextlib import ExitStack, redirect_stdout
from contextvars import ContextVar
from pathlib import Path
from typing import Annotated, Any, get_args

import typer
from typer.core import TyperCommand

from mose_med.errors import ConfigError
from pipelines.common.command_result import Outcome, result_document
from pipelines.common.console import ExitCode, configure_logging, run_command
from pipelines.common.mlflow_settings import calm_mlflow
from pipelines.common.options import RUN_PANEL
from pipelines.common.signature import built, parameters, typed_options

__all__ = ["JSON_FLAG", "command", "options_of", "refuse_others"]

#: Switch of every command.
JSON_FLAG = "--json"

_KEYWORD = inspect.Parameter.KEYWORD_ONLY
_LogFile = Annotated[
    Path | None,
    typer.Option(help="Also write the log to this file.", show_default=False, rich_help_panel=RUN_PANEL),
]
_Debug = Annotated[bool, typer.Option("--debug", help="Show where an error comes from.", rich_help_panel=RUN_PANEL)]
_Json = Annotated[
    bool,
    typer.Option(
        JSON_FLAG, help="Print one JSON object on standard output; all text goes to stderr.", rich_help_panel=RUN_PANEL
    ),
]
_COMMON = (
    inspect.Parameter("log_file", _KEYWORD, default=None, annotation=_LogFile),
    inspect.Parameter("debug", _KEYWORD, default=False, annotation=_Debug),
    inspect.Parameter("as_json", _KEYWORD, default=False, annotation=_Json),
)
#: Fields that name what a command writes.
_OUTPUTS = ("output_dir", "output_file", "case_dir")
#: Name of the command that is being run.
_running: ContextVar[str] = ContextVar("running", default="")

#: Chooses one of several dataclasses by what was typed, by name; it may add what follows from that.
Chooser = Callable[[dict[str, Any]], type]


def command(
    group: typer.Typer, name: str | None = None, *, choose: Chooser | None = None, examples: tuple[str, ...] = ()
) -> Callable[[Callable[[Any], Any]], None]:
    """Make a function a command of ``group``.

    The function takes one dataclass of options, or one of several, as its annotation says; their fields become the
    options of the command, each name once. What it returns is the result that ``--json`` prints, or an
    :class:`Outcome` with an exit code. The command gets ``--log-file``, ``--debug`` and ``--json`` besides, configures
    logging, and exits with the code that its error stands for.

    Args:
        group: the application, or a group of it.
        name: of the command; that of the function if None.
        choose: which dataclass is meant, where there are several.
        examples: command lines, at the end of the help page.
    """

    def register(function: Callable[[Any], Any]) -> None:
        (annotation,) = (each.annotation for each in inspect.signature(function, eval_str=True).parameters.values())
        kinds = get_args(annotation) if isinstance(annotation, types.UnionType) else (annotation,)

        @functools.wraps(function)
        def run(*, log_file: Path | None, debug: bool | None, as_json: bool | None, **typed: Any) -> None:
            given = {name: value for name, value in typed.items() if value is not None}

            def work() -> Any:
                calm_mlflow()
                configure_logging(quiet=given.get("quiet", False), log_file=log_file, debug=bool(debug))
                return function(built(kinds[0] if choose is None else choose(given), given))

            raise typer.Exit(_run(work, given, debug=bool(debug), as_json=bool(as_json)))

        signature = [*parameters(kinds), *_COMMON]
        run.kinds = kinds  # type: ignore[attr-defined]
        run.__signature__ = inspect.Signature(signature)  # type: ignore[attr-defined]
        run.__annotations__ = {parameter.name: parameter.annotation for parameter in signature}
        epilog = "\n\n".join(("Examples:", *examples)) if examples else None
        group.command(name, cls=_Command, epilog=epilog)(run)

    return register


def options_of(command: object) -> tuple[type, ...]:
    """Dataclasses of a command's options."""
    kinds: tuple[type, ...] = getattr(command, "kinds", ())
    return kinds


def _run(work: Callable[[], Any], given: Mapping[str, Any], *, debug: bool, as_json: bool) -> ExitCode:
    """Do the work; print the JSON object if it is wanted, to what is standard output now."""
    outcome, errors = Outcome(None), list[str]()

    def finish() -> ExitCode:
        nonlocal outcome
        result = work()
        outcome = result if isinstance(result, Outcome) else Outcome(result, getattr(result, "exit_code", 0))
        return ExitCode(outcome.exit_code)

    stdout = sys.stdout
    with ExitStack() as stack:
        if as_json:
            stack.enter_context(redirect_stdout(sys.stderr))
        code = run_command(finish, debug=debug, told=errors.append)
    if as_json:
        output = next((given[name] for name in _OUTPUTS if name in given), None)
        error = errors[0] if errors else None
        result = None if errors else outcome.result or {}
        stdout.write(result_document(_running.get(), code, error=error, result=result, output=output) + "\n")
        stdout.flush()
    return code


def refuse_others(given: Mapping[str, Any], options: type, reason: str) -> None:
    """Refuse what was typed and is no option of a dataclass.

    Raises:
        ConfigError: naming the first.
    """
    known = {declared.name for declared in typed_options(options)}
    for name in given:
        if name not in known:
            raise ConfigError(f"--{name.replace('_', '-')} {reason.format(name=name)}")


class _Command(TyperCommand):
    """A command that is told apart what was typed, and whose options take several values after one flag.

    ``--samples 16 50 100`` is ``--samples 16 --samples 50 --samples 100``. Commands with positional arguments stay as
    they are: there, a value after a value is the next argument.
    """

    def parse_args(self, ctx: typer.Context, args: list[str]) -> list[str]:  # type: ignore[override]
        """Give every value a flag of its own and parse; what neither was typed nor is in the environment is None."""
        flags = {name for option in self.params if getattr(option, "multiple", False) for name in option.opts}
        positional = any(parameter.param_type_name == "argument" for parameter in self.params)
        _running.set(ctx.command_path.partition(" ")[2])
        rest = super().parse_args(ctx, args if positional else _one_value_a_flag(args, flags))
        for name in ctx.params:
            source = ctx.get_parameter_source(name)
            if source is None or source.name == "DEFAULT":
                ctx.params[name] = None
        return rest


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
