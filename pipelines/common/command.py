"""A command of the command line, made of the dataclass of its options."""

from __future__ import annotations

import dataclasses
import functools
import inspect
import types
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Union, get_args, get_origin

import typer
from typer.core import TyperCommand

from mose_med.errors import ConfigError
from mose_med.options import Declared, Limits, Option, declared_options, without_none
from pipelines.common.console import ExitCode, configure_logging, run_command
from pipelines.common.mlflow_settings import calm_mlflow
from pipelines.common.options import RUN_PANEL

__all__ = ["command", "refuse_others"]

_LogFile = Annotated[
    Path | None,
    typer.Option(help="Also write the log to this file.", show_default=False, rich_help_panel=RUN_PANEL),
]
_Debug = Annotated[bool, typer.Option("--debug", help="Show where an error comes from.", rich_help_panel=RUN_PANEL)]
_KEYWORD = inspect.Parameter.KEYWORD_ONLY
_COMMON = (
    inspect.Parameter("log_file", _KEYWORD, default=None, annotation=_LogFile),
    inspect.Parameter("debug", _KEYWORD, default=False, annotation=_Debug),
)

#: Chooses one of several dataclasses by what was typed, by name; it may add what follows from that.
Chooser = Callable[[dict[str, Any]], type]


def command(
    group: typer.Typer, name: str | None = None, *, choose: Chooser | None = None
) -> Callable[[Callable[[Any], ExitCode | None]], None]:
    """Make a function a command of ``group``.

    The function takes one dataclass of options, or one of several, as its annotation says; their fields become the
    options of the command, each name once. The command gets ``--log-file`` and ``--debug`` besides, configures logging,
    and exits with the code that the function returns (None: done) or that its error stands for.

    Args:
        group: the application, or a group of it.
        name: of the command; that of the function if None.
        choose: which dataclass is meant, where there are several.
    """

    def register(function: Callable[[Any], ExitCode | None]) -> None:
        (annotation,) = (p.annotation for p in inspect.signature(function, eval_str=True).parameters.values())
        kinds = get_args(annotation) if isinstance(annotation, types.UnionType) else (annotation,)

        @functools.wraps(function)
        def run(*, log_file: Path | None, debug: bool | None, **typed: Any) -> None:
            given = {name: value for name, value in typed.items() if value is not None}

            def logged() -> ExitCode | None:
                calm_mlflow()
                configure_logging(quiet=given.get("quiet", False), log_file=log_file, debug=bool(debug))
                return function(_built(kinds[0] if choose is None else choose(given), given))

            raise typer.Exit(run_command(logged, debug=bool(debug)))

        parameters = [*_parameters(kinds), *_COMMON]
        run.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
        run.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
        group.command(name, cls=_Command)(run)

    return register


def refuse_others(given: Mapping[str, Any], options: type, reason: str) -> None:
    """Refuse what was typed and is no option of a dataclass.

    Raises:
        ConfigError: naming the first.
    """
    known = {declared.name for declared in _typed(options)}
    for name in given:
        if name not in known:
            raise ConfigError(f"--{name.replace('_', '-')} {reason.format(name=name)}")


def _typed(options: type) -> Iterator[Declared]:
    """Options of a dataclass, and of those that are its fields."""
    for declared in declared_options(options):
        if dataclasses.is_dataclass(declared.kind):
            yield from _typed(declared.kind)  # type: ignore[arg-type]
        elif declared.option is not None:
            yield declared


def _built(options: type, given: Mapping[str, Any]) -> Any:
    """The dataclass with what was typed; all else is at its default, or None where there is none."""
    values: dict[str, Any] = {}
    for declared in declared_options(options):
        if dataclasses.is_dataclass(declared.kind):
            values[declared.field] = _built(declared.kind, given)  # type: ignore[arg-type]
        elif declared.option is not None and declared.name in given:
            values[declared.field] = _value(declared, given[declared.name])
        elif declared.option is not None and declared.option.default is not None:
            values[declared.field] = _value(declared, declared.option.default)
        elif declared.default is dataclasses.MISSING:
            values[declared.field] = None
    return options(**values)


def _value(declared: Declared, typed: Any) -> Any:
    parse = None if declared.option is None else declared.option.parse
    if parse is not None:
        return parse(typed)
    return tuple(typed) if isinstance(typed, list) else typed


def _parameters(kinds: Sequence[type]) -> list[inspect.Parameter]:
    """Of the command: every option once, as it is first declared; required ones first, those of the run last."""
    found: dict[str, inspect.Parameter] = {}
    for declared in (declared for kind in kinds for declared in _typed(kind)):
        found.setdefault(declared.name, _parameter(declared, required=_is_required(declared, kinds)))
    return sorted(found.values(), key=_rank)


def _rank(parameter: inspect.Parameter) -> int:
    panel = get_args(parameter.annotation)[1].rich_help_panel
    return 2 if panel == RUN_PANEL else int(parameter.default is not inspect.Parameter.empty)


def _is_required(declared: Declared, kinds: Sequence[type]) -> bool:
    """Whether an option must be given whichever of several dataclasses is meant."""
    for kind in kinds:
        found = next((each for each in _typed(kind) if each.name == declared.name), None)
        if found is None or found.default is not dataclasses.MISSING or _may_be_none(found):
            return False
    return True


def _may_be_none(declared: Declared) -> bool:
    return without_none(declared.kind) is not declared.kind


def _parameter(declared: Declared, *, required: bool) -> inspect.Parameter:
    option = declared.option or Option()
    kind = without_none(declared.kind) if option.typed is None else option.typed
    default = declared.default if option.default is None else option.default
    several = get_origin(kind) is tuple and get_args(kind)[1:] == (...,)
    if several:
        kind = list[get_args(kind)[0]]  # type: ignore[misc]
        default = list(default) if isinstance(default, tuple) else default
    missing = default is None or default is dataclasses.MISSING or default == []
    shown = option.default_text or not (missing or required)
    settings: dict[str, Any] = {"help": option.help, "metavar": option.metavar, "show_default": shown}
    settings |= {"rich_help_panel": option.panel, **_limits(kind, option)}
    info = typer.Argument(**settings) if option.is_argument else _flags(declared, kind, default, option, settings)
    if missing and not required:
        default, kind = None, Union[kind, None]  # noqa: UP007 - a type made at run time
    value = inspect.Parameter.empty if required else default
    return inspect.Parameter(declared.name, _KEYWORD, default=value, annotation=Annotated[kind, info])


def _flags(declared: Declared, kind: Any, default: Any, option: Option, settings: Mapping[str, Any]) -> Any:
    flag = f"--{declared.name.replace('_', '-')}"
    names = [flag] if kind is bool and not default and not option.can_be_negated else []
    if option.can_be_negated:
        names = [f"{flag}/--no-{flag[2:]}"]
    variable: dict[str, Any] = {} if option.envvar is None else {"envvar": option.envvar, "show_envvar": True}
    return typer.Option(*names, **settings, **variable)  # type: ignore[misc]


def _limits(kind: Any, option: Option) -> dict[str, Any]:
    """How the command line keeps the limits of a number."""
    if not str(option):
        return {}
    if kind is float:
        return {"callback": _real_number(option), "metavar": f"FLOAT {option.interval}"}
    return {"min": option.at_least, "max": option.at_most} if int in (kind, *get_args(kind)) else {}


def _real_number(limits: Limits) -> Callable[[float | None], float | None]:
    def check(value: float | None) -> float | None:
        if value is not None and not limits.holds(value):
            raise typer.BadParameter(f"{value:g} is not in the range {limits.interval}.")
        return value

    return check


class _Command(TyperCommand):
    """A command that is told apart what was typed, and whose options take several values after one flag.

    ``--samples 16 50 100`` is ``--samples 16 --samples 50 --samples 100``. Commands with positional arguments stay as
    they are: there, a value after a value is the next argument.
    """

    def parse_args(self, ctx: typer.Context, args: list[str]) -> list[str]:  # type: ignore[override]
        """Give every value a flag of its own and parse; what neither was typed nor is in the environment is None."""
        flags = {name for option in self.params if getattr(option, "multiple", False) for name in option.opts}
        positional = any(parameter.param_type_name == "argument" for parameter in self.params)
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
