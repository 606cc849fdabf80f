from __future__ import annotations

from pathlib import Path

import pytest

from mose_med.errors import ConfigError
from pipelines.tracking_store import named_store, store_uri


@pytest.mark.parametrize(
    "uri", ["https://host:5000/path", "sqlite:////data/mlflow.db", "databricks", "postgresql://db/x"]
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


def test_the_option_goes_before_the_environment(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://environment")
    assert (named_store("http://option"), named_store(None)) == ("http://option", "http://environment")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "")
    assert (named_store(None), store_uri("")) == (None, None)
