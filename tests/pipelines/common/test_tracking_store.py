from __future__ import annotations

import re
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from mose_med.errors import ConfigError
from mose_med.handlers.tracking.store_uri import store_uri
from pipelines.common.tracking_store import named_store


@pytest.fixture
def lacks(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """Function that makes a module one that is not installed."""
    return lambda module: monkeypatch.setitem(sys.modules, module, None)


@pytest.mark.parametrize(
    "uri", ["https://host:5000/path", "http://user:word@host", "sqlite:////data/mlflow.db", "databricks"]
)
def test_a_uri_is_taken_as_it_is(uri: str):
    assert store_uri(uri) == uri


@pytest.mark.parametrize("name", ["models", "$print(1)", "@datalist", "%file"])
def test_anything_else_is_a_folder_and_never_evaluated(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    assert store_uri(name) == f"sqlite:///{tmp_path / name / 'mlflow.db'}"
    assert (tmp_path / name).is_dir()


def test_a_folder_is_not_made_for_a_question(tmp_path: Path):
    store_uri(str(tmp_path / "new"), create=False)
    assert not (tmp_path / "new").exists()


def test_what_cannot_be_a_store_is_named(tmp_path: Path):
    with pytest.raises(
        ConfigError, match="tracking-uri must be a server, an SQLite URI or a folder, got file:/x: name"
    ):
        store_uri("file:/x")
    (tmp_path / "file").touch()
    with pytest.raises(ConfigError, match=r"tracking-uri .*file cannot be a folder: File exists"):
        store_uri(str(tmp_path / "file"))


@pytest.mark.parametrize(
    ("uri", "module", "package"),
    [
        ("postgresql://user:word@db/x", "psycopg", "psycopg[binary]"),
        ("postgresql+psycopg2://user:word@db/x", "psycopg2", "psycopg2-binary"),
        ("mysql://user:word@db/x", "MySQLdb", "mysqlclient"),
        ("mysql+pymysql://user:word@db/x", "pymysql", "pymysql"),
        ("mssql+pyodbc://user:word@db/x", "pyodbc", "pyodbc"),
    ],
)
def test_a_database_without_its_driver_is_refused_with_the_line_for_pip(uri: str, module: str, package: str, lacks):
    lacks(module)
    with pytest.raises(
        ConfigError, match=re.escape(f"needs {module}, which is not installed: run `pip install '{package}'`")
    ) as told:
        store_uri(uri)
    assert "word" not in str(told.value)


@pytest.mark.parametrize("uri", ["postgres://user:word@db/x", "postgresql+none://user:word@db/x", "s3://bucket/runs"])
def test_a_store_that_mlflow_does_not_know_is_refused(uri: str):
    with pytest.raises(
        ConfigError, match=r"tracking-uri (must be one of http, https, sqlite,|.*cannot be used: Can't)"
    ) as told:
        store_uri(uri)
    assert "word" not in str(told.value)


def test_the_option_goes_before_the_environment(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://environment")
    assert (named_store("http://option"), named_store(None)) == ("http://option", "http://environment")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "")
    assert (named_store(None), store_uri("")) == (None, None)
