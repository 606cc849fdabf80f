"""The way from the dataclass of a command's options to the options that are typed, and back."""

from __future__ import annotations

import dataclasses
import inspect
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Union, get_args, get_origin

import typer

from mose_med.options import Declared, Limits, Option, declared_options, without_none
from pipelines.common.options import RUN_PANEL
from pipelines.common.typed_paths import local_path

__all__ = ["built", "parameters", "typed_options"]

_KEYWORD = inspect.Parameter.KEYWORD_ONLY


def typed_options(options: type) -> Iterator[Declared]:
    """Options of a dataclass, and of those that are its fields."""
    for declared in declared_options(options):
        if dataclasses.is_dataclass(declared.kind):
            yield from typed_options(declared.kind)  # type: ignore[arg-type]
        elif declared.option is not None:
            yield declared


def built(options: type, given: Mapping[str, Any]) -> Any:
    """The dataclass with what was typed; everything else is at its default, or None where there is none."""
    values: dict[str, Any] = {}
    for declared in declared_options(options):
        if dataclasses.is_dataclass(declared.kind):
            values[declared.field] = built(declared.kind, given)  # type: ignore[arg-type]
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
    return tuple(_local(declared, one) for one in typed) if isinstance(typed, list) else _local(declared, typed)


def _local(declared: Declared, value: Any) -> Any:
    """A value; of a path, the one that is meant."""
    if not isinstance(value, Path):
        return value
    is_argument = declared.option is not None and declared.option.is_argument
    shown = (declared.option and declared.option.metavar) or declared.name.upper()
    return local_path(value, shown if is_argument else f"--{declared.name.replace('_', '-')}")


def parameters(kinds: Sequence[type]) -> list[inspect.Parameter]:
    """Parameters of a command: every option once, as first declared; required ones first, those of the run last."""
    found: dict[str, inspect.Parameter] = {}
    for declared in (declared for kind in kinds for declared in typed_options(kind)):
        found.setdefault(declared.name, _parameter(declared, required=_is_required(declared, kinds)))
    return sorted(found.values(), key=_rank)


def _rank(parameter: inspect.Parameter) -> int:
    panel = get_args(parameter.annotation)[1].rich_help_panel
    return 2 if panel == RUN_PANEL else int(parameter.default is not inspect.Parameter.empty)


def _is_required(declared: Declared, kinds: Sequence[type]) -> bool:
    """Whether an option must be given whichever of several dataclasses is meant."""
    for kind in kinds:
        found = next((each for each in typed_options(kind) if each.name == declared.name), None)
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
