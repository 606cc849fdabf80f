"""Which settings have no effect on a training, because nothing that is built refers to them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from monai.bundle import ConfigParser

__all__ = ["without_effect"]

#: What a training is made of; all else is reached from here.
_ROOTS = ("imports", "initialize", "run", "finalize", "train::trainer", "tracking")
_ANNEALING = "annealing"


def without_effect(parser: ConfigParser, names: Iterable[str]) -> list[str]:
    """Those of some settings that no part of the training refers to, in their order; of nested ones the outer.

    That an object is annealed, or its setting tracked, is no use of it; and an annealing of what is not used has no
    effect either.

    Args:
        parser: of the whole configuration, parsed.
        names: settings, such as ``network::channels``.
    """
    used = _reached(parser)
    idle = set()
    for name, of in (parser.config.get(_ANNEALING) or {}).items():
        targets = list(_names_of(parser, of["target"]))
        if not targets or _is_in(targets[-1], used):
            used |= {*targets}
        else:
            idle.add(f"{_ANNEALING}::{name}")
    without = [name for name in dict.fromkeys(names) if idle & {*_with_parents(name)} or not _is_in(name, used)]
    return [name for name in without if not {*without} & {*_with_parents(name)} - {name}]


def _reached(parser: ConfigParser) -> set[str]:
    resolver, found, waiting = parser.ref_resolver, set[str](), list(_ROOTS)
    while waiting:
        name = waiting.pop()
        if name not in found and name in resolver.items:
            found.add(name)
            waiting.extend(resolver.find_refs_in_config(_using(name, resolver.items[name].get_config()), name))
    return found


def _names_of(parser: ConfigParser, reference: Any) -> Iterator[str]:
    """Names of the object that ``@name`` refers to, its own last."""
    while isinstance(reference, str) and reference.startswith("@"):
        yield reference[1:]
        reference = parser.get(reference[1:])


def _using(name: str, config: Any) -> Any:
    """The part of an item whose references are uses."""
    if name == _ANNEALING:
        return {inner: _using(f"{name}::{inner}", of) for inner, of in config.items()}
    if name.rpartition("::")[0] == _ANNEALING:
        return {key: value for key, value in config.items() if key != "target"}
    return {key: value for key, value in config.items() if key != "params"} if name == "tracking" else config


def _is_in(name: str, used: set[str]) -> bool:
    """Whether a setting, something that holds it, or something in it, is referred to."""
    return any(part in used for part in _with_parents(name)) or any(one.startswith(f"{name}::") for one in used)


def _with_parents(name: str) -> Iterator[str]:
    parts = name.split("::")
    return ("::".join(parts[:count]) for count in range(len(parts), 0, -1))
