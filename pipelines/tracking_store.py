"""Which MLflow store ``--tracking-uri`` or the environment names."""

from __future__ import annotations

import os
import re
from pathlib import Path

from mose_med.errors import ConfigError
from mose_med.handlers import STORE_NAME

__all__ = ["VARIABLE", "named_store", "store_uri"]

#: Environment variable of MLflow; the option goes before it.
VARIABLE = "MLFLOW_TRACKING_URI"

_URI = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*:.*|databricks|uc")


def named_store(option: str | None) -> str | None:
    """The option, or what the environment says; None if neither names a store."""
    return option or os.environ.get(VARIABLE) or None


def store_uri(name: str | None, *, create: bool = True) -> str | None:
    """URI of a store; a folder stands for the SQLite store in it.

    Args:
        name: what the user says; None or empty for none.
        create: make the folder if there is none.

    Example:
        >>> store_uri("http://127.0.0.1:5000")
        'http://127.0.0.1:5000'

    Raises:
        ConfigError: if it is a store of plain files, which MLflow has given up, or no folder can be made.
    """
    if not name:
        return None
    if name.startswith("file:"):
        raise ConfigError(f"tracking-uri must be a server, an SQLite URI or a folder, got {name}: name the folder")
    if _URI.fullmatch(name):
        return name
    folder = Path(name).expanduser().resolve()
    try:
        if create:
            folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigError(f"tracking-uri {name} cannot be a folder: {error.strerror}") from error
    return f"sqlite:///{folder / STORE_NAME}"
