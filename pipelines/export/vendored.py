"""The modules of mose_med that config files name, as a package ``scripts`` of a bundle that needs no mose_med.

A module is copied with all that it imports from mose_med, and keeps its path: ``mose_med.data.dataset`` becomes
``scripts.data.dataset``. The ``__init__`` of a package is left out, so that only what is used is copied: a name that
it hands on is imported from the module that defines it.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterable, Mapping
from functools import cache
from importlib.resources import files
from pathlib import Path, PurePosixPath
from typing import NamedTuple

from mose_med.errors import ConfigError

__all__ = ["OWN_PACKAGE", "SCRIPTS", "Vendored", "named_in", "vendored"]

#: The package that is copied from, and the one in the bundle.
OWN_PACKAGE, SCRIPTS = "mose_med", "scripts"

_DOTTED = re.compile(rf"\b{OWN_PACKAGE}(?:\.\w+)+")
_IMPORT = re.compile(rf"from ({OWN_PACKAGE}[\w.]*) import (\w+)")
_QUOTED = re.compile(rf'"{OWN_PACKAGE}((?:\.\w+)*(?::\w+)?)"')
_INIT = '"""Copied from mose_med {version}, Apache License 2.0, for the config files of this bundle."""\n'


class Vendored(NamedTuple):
    """What is copied.

    Attributes:
        files: content by path below the bundle.
        packages: top-level names that the copied modules import, the standard library's among them.
    """

    files: dict[str, str]
    packages: frozenset[str]

    @staticmethod
    def config(text: str) -> str:
        """A config file that names the copies."""
        text = _IMPORT.sub(lambda found: _import_of_config(*found.groups()), text)
        return _DOTTED.sub(lambda found: _renamed(".".join(filter(None, _defined(found[0])))), text)


class _Module(NamedTuple):
    """A module's text with the imports of the copies, the modules it needs, and other packages."""

    text: str
    needs: frozenset[str]
    packages: frozenset[str]


def named_in(configs: Iterable[str]) -> set[str]:
    """Dotted names of mose_med in config files."""
    found = set()
    for text in configs:
        found |= {".".join(names) for names in _IMPORT.findall(text)}
        found |= set(_DOTTED.findall(_IMPORT.sub("", text)))
    return found


def vendored(names: Iterable[str], version: str) -> Vendored:
    """Copy the modules that define names, and what they import.

    Args:
        names: dotted, of modules, classes and functions.
        version: of mose_med, for the record.

    Raises:
        ConfigError: if mose_med has no such name.
    """
    modules: dict[str, _Module] = {}
    waiting = {_defined(name)[0] for name in names}
    while waiting:
        name = waiting.pop()
        modules[name] = _module(name)
        waiting |= modules[name].needs - set(modules)
    found: dict[str, str] = {}
    for name, module in modules.items():
        path = PurePosixPath(_renamed(name).replace(".", "/") + ".py")
        found[str(path)] = module.text
        found |= {str(folder / "__init__.py"): _INIT.format(version=version) for folder in list(path.parents)[:-1]}
        found |= {str(path.with_name(name)): text for name, text in _data_files(name).items()}
    packages = frozenset(package for module in modules.values() for package in module.packages)
    return Vendored(dict(sorted(found.items())), packages)


@cache
def _module(name: str) -> _Module:
    source = _source(name)
    tree = ast.parse(source)
    typing_only = {id(inner) for node in ast.walk(tree) if _checks_types(node) for inner in ast.walk(node)}
    imports = [node for node in ast.walk(tree) if isinstance(node, ast.Import | ast.ImportFrom)]
    lines, needs, packages = source.splitlines(), set(), set()
    for node in sorted(imports, key=lambda found: found.lineno, reverse=True):
        imported = _imported(node)
        if id(node) not in typing_only:
            packages |= {found.partition(".")[0] for found in imported}
            needs |= {_defined(found)[0] for found in imported if found.startswith(f"{OWN_PACKAGE}.")}
        if isinstance(node, ast.ImportFrom) and str(node.module).partition(".")[0] == OWN_PACKAGE:
            lines[node.lineno - 1 : node.end_lineno] = [
                " " * node.col_offset + _import_line(str(node.module), alias.name, alias.asname) for alias in node.names
            ]
    text = _QUOTED.sub(rf'"{SCRIPTS}\1"', "\n".join(lines) + "\n")
    return _Module(text, frozenset(needs), frozenset(packages - {OWN_PACKAGE, "__future__"}))


def _checks_types(node: ast.AST) -> bool:
    return isinstance(node, ast.If) and isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING"


def _imported(node: ast.Import | ast.ImportFrom) -> list[str]:
    if isinstance(node, ast.Import):
        return [alias.name for alias in node.names]
    return [f"{node.module}.{alias.name}" for alias in node.names]


def _import_line(module: str, name: str, asname: str | None = None) -> str:
    found, attribute = _defined(f"{module}.{name}")
    place, _, last = _renamed(found).rpartition(".")
    line = f"from {_renamed(found)} import {attribute}" if attribute else f"from {place} import {last}"
    return line if asname is None else f"{line} as {asname}"


def _import_of_config(module: str, name: str) -> str:
    """MONAI takes a name from an imported package, and does not import further modules of it."""
    found, attribute = _defined(f"{module}.{name}")
    return _import_line(module, name) if attribute else f"import {_renamed(found)} as {name}"


def _renamed(name: str) -> str:
    return SCRIPTS + name.removeprefix(OWN_PACKAGE)


@cache
def _defined(name: str) -> tuple[str, str]:
    """The module that a dotted name is defined in, and its name there; empty for a module."""
    module, _, attribute = name.rpartition(".")
    path = _file(module) if module else None
    if path is not None and path.name == "__init__.py":
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ImportFrom) and any(attribute == (a.asname or a.name) for a in node.names):
                return _defined(f"{node.module}.{attribute}")
    if _file(name) is not None:
        return name, ""
    if path is None or path.name == "__init__.py":
        raise ConfigError(f"{OWN_PACKAGE} has no {name}, which a config file names")
    return module, attribute


def _file(module: str) -> Path | None:
    place = Path(str(files(OWN_PACKAGE))).joinpath(*module.split(".")[1:])
    candidates = (place.with_name(f"{place.name}.py"), place / "__init__.py")
    return next((path for path in candidates if path.is_file()), None)


def _source(module: str) -> str:
    return _existing(module).read_text(encoding="utf-8")


def _existing(module: str) -> Path:
    path = _file(module)
    assert path is not None, module
    return path


def _data_files(module: str) -> Mapping[str, str]:
    """Files beside a module that its text names."""
    text = _source(module)
    beside = (file for file in _existing(module).parent.iterdir() if file.is_file() and file.suffix != ".py")
    return {file.name: file.read_text(encoding="utf-8") for file in beside if f'"{file.name}"' in text}
