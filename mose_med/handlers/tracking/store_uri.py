"""The MLflow store that a name means: a server, a database or a folder."""

from __future__ import annotations

import re
from importlib.metadata import entry_points
from pathlib import Path

from mose_med.errors import ConfigError
from mose_med.files.credentials import without_credentials
from mose_med.handlers import STORE_NAME

__all__ = ["store_uri"]

_URI = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*:.*|databricks|uc")
_DATABASES = ("sqlite", "postgresql", "mysql", "mssql")
_SERVERS = ("http", "https", "databricks", "databricks-uc", "uc")
#: What pip calls the driver of a database, where it is not the module's name.
_PIP_NAMES = {"psycopg": "psycopg[binary]", "psycopg2": "psycopg2-binary", "MySQLdb": "mysqlclient"}


def store_uri(name: str | None, *, create: bool = True) -> str | None:
    """URI of a store; a folder stands for the SQLite store in it.

    Args:
        name: what the user says; None or empty for none.
        create: make the folder if there is none.

    Example:
        >>> store_uri("http://127.0.0.1:5000")
        'http://127.0.0.1:5000'

    Raises:
        ConfigError: if it is a store of plain files, which MLflow has given up, if MLflow knows no such store, if the
            driver of its database is not installed, or if no folder can be made.
    """
    if not name:
        return None
    if name.startswith("file:"):
        raise ConfigError(f"tracking-uri must be a server, an SQLite URI or a folder, got {name}: name the folder")
    if _URI.fullmatch(name):
        _require_usable(name)
        return name
    folder = Path(name).expanduser().resolve()
    try:
        if create:
            folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigError(f"tracking-uri {name} cannot be a folder: {error.strerror}") from error
    return f"sqlite:///{folder / STORE_NAME}"


def _require_usable(uri: str) -> None:
    """Refuse what MLflow cannot open, before anything is computed for it."""
    scheme, where = uri.partition(":")[0].lower(), without_credentials(uri)
    kind = scheme.partition("+")[0]
    if kind in _DATABASES:
        _require_driver(uri, where)
    elif kind not in _SERVERS and scheme not in entry_points(group="mlflow.tracking_store").names:
        known = ", ".join((*_SERVERS[:2], *_DATABASES))
        raise ConfigError(f"tracking-uri must be one of {known} or a folder, got {where}")


def _require_driver(uri: str, where: str) -> None:
    """Of a database; without MLflow there is nothing to ask, and the missing MLflow is named elsewhere."""
    try:
        from sqlalchemy.engine import make_url
        from sqlalchemy.exc import ArgumentError
    except ImportError:
        return
    try:
        make_url(uri).get_dialect().import_dbapi()
    except ImportError as error:
        package = _PIP_NAMES.get(error.name or "", error.name)
        raise ConfigError(
            f"tracking-uri {where} needs {error.name}, which is not installed: run `pip install '{package}'`"
        ) from None
    except (ArgumentError, ValueError) as error:
        reason = without_credentials(str(error).splitlines()[0])
        raise ConfigError(f"tracking-uri {where} cannot be used: {reason}") from None
