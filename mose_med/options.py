"""How an option is declared: once, as a field of a dataclass, for the command line, Python and recorded files alike.

A field is ``name: Annotated[type, Option(help, limits)] = default``. :func:`check_options`, called by the dataclass
when it is built, checks switches, numbers, limits and the choices of a ``Literal``; the command line makes a command
of the same fields (``pipelines.common.command_line.command``). This module is light to import.
"""

from __future__ import annotations

import dataclasses
import functools
import inspect
import math
import numbers
import types
from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, Any, Literal, Union, get_args, get_origin, get_type_hints

from mose_med.errors import ConfigError

__all__ = ["Declared", "Limits", "Option", "check_options", "declared_options", "without_none"]


@dataclass(frozen=True, kw_only=True)
class Limits:
    """The numbers that an option accepts; NaN and infinity never.

    Example:
        >>> limits = Limits(at_least=0, below=1)
        >>> str(limits), limits.holds(0.5), limits.holds(1)
        ('>= 0 and < 1', True, False)
        >>> limits.interval
        '0<=x<1'
    """

    at_least: float | None = None
    above: float | None = None
    at_most: float | None = None
    below: float | None = None

    def holds(self, value: float) -> bool:
        """Whether a number is inside."""
        return (
            math.isfinite(value)
            and (self.at_least is None or value >= self.at_least)
            and (self.above is None or value > self.above)
            and (self.at_most is None or value <= self.at_most)
            and (self.below is None or value < self.below)
        )

    @property
    def interval(self) -> str:
        """The text in the help."""
        low = ((self.at_least, "<="), (self.above, "<"))
        high = ((self.at_most, "<="), (self.below, "<"))
        shown = [f"{end:g}{sign}" for end, sign in low if end is not None] + ["x"]
        return "".join(shown + [f"{sign}{end:g}" for end, sign in high if end is not None])

    def __str__(self) -> str:
        if self.at_least is not None and self.at_most is not None:
            return f"between {self.at_least:g} and {self.at_most:g}"
        signs = ((">=", self.at_least), (">", self.above), ("<=", self.at_most), ("<", self.below))
        return " and ".join(f"{sign} {end:g}" for sign, end in signs if end is not None)


@dataclass(frozen=True)
class Option(Limits):
    """One option of a command.

    Attributes:
        help: one sentence or two.
        name: on the command line, where it is not that of the field; without dashes.
        former_name: from an earlier version, still accepted; the help does not show it.
        panel: of the help page; the first one if empty.
        default_text: what the help shows for the default; nothing for None and for required options if empty.
        typed: type on the command line, if it is not the type of the field.
        parse: converts what is typed to the value of the field.
        default: what is shown as the default, where it is not that of the field.
        metavar: what the help shows for the value.
        is_argument: positional, without a flag.
        can_be_negated: a switch that also has ``--no-name``; switches that are on by default always have it.
        envvar: environment variable that is read if nothing is typed.
    """

    help: str = ""
    name: str | None = None
    former_name: str | None = None
    panel: str | None = None
    default_text: str | None = None
    typed: Any = None
    parse: Callable[[Any], Any] | None = None
    default: Any = None
    metavar: str | None = None
    is_argument: bool = False
    can_be_negated: bool = False
    envvar: str | None = None


@dataclass(frozen=True)
class Declared:
    """A field of a dataclass that has limits or is an option.

    Attributes:
        field: its name.
        kind: its type, without what is annotated.
        limits: of its value, or the option.
        default: of the field; ``dataclasses.MISSING`` if it has none.
    """

    field: str
    kind: Any
    limits: Limits
    default: Any

    @property
    def option(self) -> Option | None:
        """Its option on the command line; None if it cannot be typed."""
        return self.limits if isinstance(self.limits, Option) else None

    @property
    def name(self) -> str:
        """On the command line, with underscores."""
        return (self.option and self.option.name) or self.field

    def check(self, value: Any) -> None:
        """Check a value.

        Raises:
            ConfigError: naming the field, the rule and the value.
        """
        kind = without_none(self.kind)
        if value is None and kind is not self.kind:
            return
        choices = get_args(kind) if get_origin(kind) is Literal else ()
        if choices and value not in choices:
            listed = " or ".join(choices) if len(choices) == 2 else f"one of {', '.join(choices)}"
            raise ConfigError(f"{self.field} must be {listed}, got {value!r}")
        values = value if isinstance(value, tuple) else (value,)
        single = get_args(kind)[0] if get_origin(kind) is tuple else kind
        if single in _PLAIN and not all(_is_of(single, one) for one in values):
            rule = _PLAIN[single] if single is kind else _PLAIN[single].removeprefix("a ") + "s"
            raise ConfigError(f"{self.field} must be {rule} {self.limits}".rstrip() + f", got {value!r}")
        if str(self.limits) and single in (int, float) and not all(map(self.limits.holds, values)):
            raise ConfigError(f"{self.field} must be {self.limits}, got {value}")

    def plain(self, value: Any) -> Any:
        """A checked value; a number of NumPy, or a whole one in place of a float, as Python's own of the kind."""
        kind = without_none(self.kind)
        return kind(value) if kind in (int, float) and value is not None else value


#: Kinds whose values are checked, as messages name them.
_PLAIN = {bool: "True or False", int: "a whole number", float: "a number"}


def _is_of(kind: type, value: object) -> bool:
    """Whether a value is of a plain kind: numbers of NumPy are, and True is no number."""
    if kind is bool or isinstance(value, bool):
        return kind is bool and isinstance(value, bool)
    return isinstance(value, numbers.Integral if kind is int else numbers.Real)


def without_none(kind: Any) -> Any:
    """The type of an optional value."""
    if get_origin(kind) in (Union, types.UnionType):
        kinds = [inner for inner in get_args(kind) if inner is not type(None)]
        return functools.reduce(lambda one, other: one | other, kinds)
    return kind


def declared_options(options: type) -> tuple[Declared, ...]:
    """All fields with limits or options; those of the class itself before those it inherits."""
    return _of_class(options)


@functools.cache
def _of_class(options: Any) -> tuple[Declared, ...]:
    hints = get_type_hints(options, include_extras=True)
    fields = {field.name: field for field in dataclasses.fields(options)}
    order = dict.fromkeys(name for part in options.__mro__ for name in inspect.get_annotations(part))
    return tuple(_declared(name, hints[name], fields[name].default) for name in order if name in fields)


def _declared(name: str, hint: Any, default: Any) -> Declared:
    kind, *notes = get_args(hint) if get_origin(hint) is Annotated else (hint,)
    # If an alias is annotated again, the outer annotation counts.
    limits = next((note for note in reversed(notes) if isinstance(note, Limits)), Limits())
    return Declared(name, kind, limits, default)


def check_options(options: object) -> None:
    """Check every field of a dataclass against its kind, limits and choices.

    Raises:
        ConfigError: naming the first invalid field, the rule and the value.
    """
    for declared in declared_options(type(options)):
        declared.check(getattr(options, declared.field))
