"""A command of the command line, made of the dataclass of its options."""

from __future__ import annotations

import functools
import inspect
import sys
import types
from collections.abc import Callable, Mapping
from contextlib import ExitStack, redirect_stdout
from contextvars import ContextVar
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, get_args

import typer
from typer.core import TyperCommand

from mose_med.errors import ConfigError
from mose_med.options import Option
from pipelines.common.command_line.console import ExitCode, configure_logging, run_command, stderr
from pipelines.common.command_line.help_page import write_examples, write_options
from pipelines.common.command_line.signature import built, parameters, typed_options
from pipelines.common.command_line.usage_errors import PARSED
from pipelines.common.command_result import Outcome, print_document, result_document
from pipelines.common.mlflow_settings import calm_mlflow
from pipelines.common.options import RUN_PANEL
from pipelines.common.typed_paths import expanded

__all__ = [
    "CommonOptions",
    "command",
    "forget_running",
    "options_of",
    "refuse_others",
    "running",
]


@dataclass(frozen=True)
class CommonOptions:
    """The options that every command has in addition to its own."""

    log_file: Annotated[Path | None, Option("Also write the log to this file.", panel=RUN_PANEL)] = None
    debug: Annotated[bool, Option("Show the tracebacks of errors.", panel=RUN_PANEL)] = False
    json: Annotated[
        bool, Option("Print one JSON object on standard output; all text goes to stderr.", panel=RUN_PANEL)
    ] = False


#: Fields that name what a command writes.
_OUTPUTS = ("output_dir", "output_file", "case_dir")
#: Widest help page, in columns.
_HELP_WIDTH = 120
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
    :class:`Outcome` with an exit code. The command also gets ``--log-file``, ``--debug`` and ``--json``, configures
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
        def run(**typed: Any) -> None:
            common, given = (_given(typed, own=own) for own in (False, True))
            debug, as_json = common.get("debug", False), common.get("json", False)

            def work() -> Any:
                calm_mlflow()
                log_file = built(CommonOptions, common).log_file
                _require_outside(log_file, given.get("output_dir"))
                configure_logging(quiet=given.get("quiet", False), log_file=log_file, debug=debug)
                return function(built(kinds[0] if choose is None else choose(given), given))

            raise typer.Exit(_run(work, given, debug=debug, as_json=as_json))

        signature = [*parameters(kinds), *parameters((CommonOptions,))]
        run.kinds = kinds  # type: ignore[attr-defined]
        run.__signature__ = inspect.Signature(signature)  # type: ignore[attr-defined]
        run.__annotations__ = {parameter.name: parameter.annotation for parameter in signature}
        run.examples = examples  # type: ignore[attr-defined]
        group.command(name, cls=_Command, context_settings={"max_content_width": _HELP_WIDTH})(run)

    return register


def _require_outside(log_file: Path | None, output_dir: str | Path | None) -> None:
    """Refuse a log file in the output folder: the command would find the folder in use, or replace it with the log.

    Raises:
        ConfigError: if it is there.
    """
    if log_file is None or output_dir is None or "://" in str(output_dir):
        return
    folder = Path(output_dir).resolve()
    if log_file.resolve().is_relative_to(folder):
        raise ConfigError(f"--log-file {log_file} lies in the output folder {output_dir}: name {folder}.log, say")


def _given(typed: Mapping[str, Any], *, own: bool) -> dict[str, Any]:
    """The typed options: the command's own, or those that all commands have."""
    common = {declared.name for declared in typed_options(CommonOptions)}
    return {name: value for name, value in typed.items() if value is not None and (name not in common) == own}


def options_of(command: object) -> tuple[type, ...]:
    """Dataclasses of a command's options."""
    kinds: tuple[type, ...] = getattr(command, "kinds", ())
    return kinds


def running() -> str:
    """Name of the command that was parsed last; empty if none was."""
    return _running.get()


def forget_running() -> None:
    """Forget the parsed command."""
    _running.set("")


def _run(work: Callable[[], Any], given: Mapping[str, Any], *, debug: bool, as_json: bool) -> ExitCode:
    """Do the work; print the JSON object if it is wanted, to what is standard output now."""
    outcome, errors = Outcome(None), list[str]()

    def finish() -> ExitCode:
        nonlocal outcome
        result = work()
        outcome = result if isinstance(result, Outcome) else Outcome(result, getattr(result, "exit_code", 0))
        return ExitCode(outcome.exit_code)

    stdout = sys.stdout
    output = next((expanded(given[name]) for name in _OUTPUTS if name in given), None)
    overwrite = given.get("overwrite", False)
    with ExitStack() as stack:
        if as_json:
            stack.enter_context(redirect_stdout(sys.stderr))
        code = run_command(finish, debug=debug, overwrite=overwrite, output=output, on_error=errors.append)
    if as_json:
        error = errors[0] if errors else None
        result = None if errors else outcome.result or {}
        print_document(result_document(_running.get(), code, error=error, result=result, output=output), stdout)
    return code


def refuse_others(given: Mapping[str, Any], options: type, reason: str) -> None:
    """Refuse a typed option that a dataclass does not have.

    Raises:
        ConfigError: naming the first.
    """
    known = {declared.name for declared in typed_options(options)}
    for name in given:
        if name not in known:
            raise ConfigError(f"--{name.replace('_', '-')} {reason.format(name=name)}")


class _Command(TyperCommand):
    """A command that records what was typed, and whose options accept several values after one flag.

    ``--seed 1 2`` of an option that takes several is ``--seed 1 --seed 2``. Commands with positional arguments stay as
    they are: there, a value after a value is the next argument.
    """

    def format_help(self, ctx: typer.Context, formatter: Any) -> None:  # type: ignore[override]
        """Write the help page; see :mod:`pipelines.common.command_line.help_page`."""
        self.format_usage(ctx, formatter)
        self.format_help_text(ctx, formatter)
        write_options(self.get_params(ctx), ctx, formatter)
        write_examples(getattr(self.callback, "examples", ()), formatter)

    def parse_args(self, ctx: typer.Context, args: list[str]) -> list[str]:  # type: ignore[override]
        """Give every value a flag of its own and parse; None stands for what was not given."""
        flags = {name for option in self.params if getattr(option, "multiple", False) for name in option.opts}
        positional = any(parameter.param_type_name == "argument" for parameter in self.params)
        _running.set(ctx.command_path.partition(" ")[2])
        args = _with_present_names(args, _former_flags(options_of(self.callback)))
        ctx.meta[PARSED] = list(args)
        _refuse_empty(args, ctx)
        rest = super().parse_args(ctx, args if positional else _one_value_a_flag(args, flags))
        for name in ctx.params:
            source = ctx.get_parameter_source(name)
            if source is None or source.name == "DEFAULT":
                ctx.params[name] = None
        return rest


def _former_flags(kinds: tuple[type, ...]) -> dict[str, str]:
    """Present flag of every former one."""
    options = (each for kind in kinds for each in typed_options(kind) if each.option and each.option.former_name)
    return {_flag(str(each.option and each.option.former_name)): _flag(each.name) for each in options}


def _flag(name: str) -> str:
    return f"--{name.replace('_', '-')}"


def _with_present_names(arguments: list[str], former: Mapping[str, str]) -> list[str]:
    """Replace former flags by present ones, with a warning."""
    present = []
    for argument in arguments:
        flag, equals, value = argument.partition("=")
        if flag in former:
            text = f"{flag} is now called {former[flag]}: use the new name"
            stderr.print(f"WARNING  {text}", style="yellow", markup=False, highlight=False, soft_wrap=True)
        present.append(f"{former.get(flag, flag)}{equals}{value}")
    return present


def _refuse_empty(arguments: list[str], ctx: typer.Context) -> None:
    """Refuse an argument without a character: an empty path would mean the current folder.

    Raises:
        TyperException: naming its option.
    """
    for place, argument in enumerate(arguments):
        flag, equals, value = argument.partition("=")
        if argument and not (equals and not value and flag.startswith("--")):
            continue
        before = arguments[place - 1] if place else ""
        named = flag or (before if before.startswith("--") else "an argument")
        error = typer.TyperException(f"{named} is empty (a variable of the shell that is not set?)")
        error.ctx = ctx  # type: ignore[attr-defined]
        raise error


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
