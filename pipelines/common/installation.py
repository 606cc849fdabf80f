"""Installed parts of this project: light to import."""

from __future__ import annotations

import re
from importlib.metadata import PackageNotFoundError, requires, version

__all__ = ["extras", "installed_version", "pip_line"]

_REQUIREMENT = re.compile(r"""([A-Za-z0-9._-]+)[^;]*;.*extra\s*==\s*["']([\w-]+)["']""")


def installed_version(package: str) -> str | None:
    """Version of a distribution; None if it is not installed."""
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def extras() -> dict[str, list[str]]:
    """Packages that each extra lacks, by extra; none if it is whole."""
    missing: dict[str, list[str]] = {}
    for requirement in requires("mose-med") or []:
        match = _REQUIREMENT.match(requirement)
        if match is None or match[2] == "dev":
            continue
        lacks = missing.setdefault(match[2], [])
        if installed_version(match[1]) is None:
            lacks.append(match[1])
    return missing


def pip_line(extra: str) -> str:
    """How to install an extra."""
    return f"pip install 'mose-med[{extra}]'"
