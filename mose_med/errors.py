"""The errors a caller can expect from this library.

Every message is one line that names the thing, the rule, the value and the remedy. Programs catch :class:`MoseError`;
batch code catches :class:`DataError`, records the case and continues.
"""

from __future__ import annotations

from pathlib import Path

__all__ = [
    "ConfigError",
    "DataError",
    "GeometryError",
    "MissingDependencyError",
    "MoseError",
    "ShapeError",
    "no_file",
    "require",
]


class MoseError(Exception):
    """Base of every error this project raises on purpose."""


class ConfigError(MoseError, ValueError):
    """An option, a config entry or a checkpoint does not fit."""


class ShapeError(MoseError, ValueError):
    """A tensor or array has the wrong shape, type or range."""


class GeometryError(MoseError, ValueError):
    """An affine, a spacing or an orientation does not fit."""


class DataError(MoseError):
    """The input of one case cannot be used; other cases may be fine."""


class MissingDependencyError(MoseError, ImportError):
    """An optional package is not installed.

    Args:
        package: what could not be imported.
        extra: the extra of this project that installs it.
    """

    def __init__(self, package: str, extra: str) -> None:
        super().__init__(f"{package} is not installed: run `pip install 'mose-med[{extra}]'`")


def require(fits: bool, message: str) -> None:
    """Refuse a setting that does not fit.

    Raises:
        ConfigError: with the message.
    """
    if not fits:
        raise ConfigError(message)


def no_file(path: Path) -> str:
    """Why there is no file at a path, for a message: it does not exist, or is something else."""
    if path.is_dir():
        return f"{path} is a folder, not a file: give a file in it"
    return f"{path} is a broken link" if path.is_symlink() else f"{path} does not exist"
