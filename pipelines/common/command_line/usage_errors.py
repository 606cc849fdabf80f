"""Usage errors in one line: the option, the rule, the value and what to do."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from difflib import get_close_matches
from typing import Any

import typer

__all__ = ["PARSED", "usage_line"]

#: Key, in what a context holds, of the arguments that were parsed: those with present names.
PARSED = "mose_med.arguments"

_INVALID = "Invalid value for "
#: Messages of the parser, and our own about the value.
_RULES = {
    r"Input should be a valid integer.*": "{value} is not a whole number",
    r"Input should be a valid number.*": "{value} is not a number",
    r"Input should be (greater|less) than or equal to .*": "{value} is not in the range {range}.",
    r"Value error, (.*)": r"\1",
}


def usage_line(error: typer.TyperException, arguments: Sequence[str], command: str) -> str:
    """What the user reads.

    Args:
        error: of the parser.
        arguments: that were typed.
        command: that was being parsed, if the error does not name it.
    """
    context = getattr(error, "ctx", None)
    path = context.command_path if context is not None else f"mose-med {command}".rstrip()
    message = " ".join(error.format_message().split()).removesuffix(".")
    see = f"see {path} --help"
    if hasattr(error, "possibilities"):
        option = getattr(error, "option_name", "")
        return f"{path} has no option {option}: {_did_you_mean(error.possibilities or ()) or see}"
    unknown = re.match(r"No such command '(.*?)'", message)
    if unknown is not None:
        known: Mapping[str, Any] = getattr(getattr(context, "command", None), "commands", {})
        close = get_close_matches(unknown[1], list(known))
        return f"{path} has no command {unknown[1]}: {_did_you_mean(close) or see}"
    parameter = getattr(error, "param", None)
    if message.startswith(_INVALID) and parameter is not None:
        parsed = getattr(context, "meta", {}).get(PARSED, arguments)
        return f"{_INVALID}{parameter.get_error_hint()}: {_rule(error.message, parameter, parsed)}"
    return f"{message or 'no command is given'}: {see}"


def _did_you_mean(names: Sequence[str]) -> str:
    return f"did you mean {' or '.join(sorted(names))}?" if names else ""


def _rule(message: str, parameter: Any, arguments: Sequence[str]) -> str:
    """The rule that a value breaks, with the value."""
    text = " ".join(message.split())
    for pattern, ours in _RULES.items():
        if re.fullmatch(pattern, text):
            rule = re.sub(pattern, ours, text)
            return rule.format(value=_typed(parameter, arguments), range=_range(parameter)) if "{" in rule else rule
    return text


def _typed(parameter: Any, arguments: Sequence[str]) -> str:
    """What was typed for a parameter; all of it, if it was given several times."""
    values = []
    for position, argument in enumerate(arguments):
        flag, equals, value = argument.partition("=")
        if flag in parameter.opts:
            values += [value] if equals else _values(arguments[position + 1 :])
    return ", ".join(values) or "the value"


def _values(arguments: Sequence[str]) -> list[str]:
    """A value, and what stands after it up to the next flag."""
    end = next((place for place, argument in enumerate(arguments[1:], 1) if argument.startswith("--")), len(arguments))
    return list(arguments[:end])


def _range(parameter: Any) -> str:
    low = "" if parameter.min is None else f"{parameter.min}<="
    return f"{low}x" + ("" if parameter.max is None else f"<={parameter.max}")
