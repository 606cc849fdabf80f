from __future__ import annotations

import errno
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from mose_med.errors import ConfigError, DataError
from pipelines.cli import invoke
from pipelines.models.actions import register_bundle, roll_back
from pipelines.models.registry import PROMOTED_OVER, Registry
from pipelines.models.report import version_rows
from tests.fixtures.mlflow import MlflowServer


@pytest.fixture
def store(mlflow_folder: Callable[[str], Path]) -> Path:
    return mlflow_folder("registry")


@pytest.fixture
def other_bundle(tiny_checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    from pipelines.export.bundle import ExportBundleOptions, export_bundle

    monkeypatch.setattr("pipelines.export.bundle.torchscript_bytes", lambda *_: b"other script")
    return export_bundle(ExportBundleOptions(tiny_checkpoint, tmp_path / "other.zip"))


def test_the_first_version_is_the_champion_and_the_next_is_not(store: Path, tiny_bundle: Path, other_bundle: Path):
    registry = Registry("lung", str(store))
    first = register_bundle(registry, tiny_bundle, champion=False)
    second = register_bundle(registry, other_bundle, champion=False)
    assert (first.number, first.aliases, second.number, second.aliases) == (1, ("champion",), 2, ())


def test_a_bundle_is_registered_once(store: Path, tiny_bundle: Path):
    registry = Registry("lung", str(store))
    first = register_bundle(registry, tiny_bundle, champion=False)
    assert register_bundle(registry, tiny_bundle, champion=True) == first
    assert len(registry.versions()) == 1


def test_a_version_is_given_back_as_it_was_registered(store: Path, tiny_bundle: Path, tmp_path: Path):
    registry = Registry("lung", str(store))
    version = register_bundle(registry, tiny_bundle, champion=False)
    assert registry.download(version, tmp_path / "back.zip").read_bytes() == tiny_bundle.read_bytes()
    with pytest.raises(DataError, match="the bundle of version 1 of lung is not the registered one"):
        registry.download(replace(version, tags={"bundle_sha256": "0" * 64}), tmp_path / "again.zip")


def test_a_rollback_goes_to_the_version_that_was_replaced(store: Path, tiny_bundle: Path, other_bundle: Path):
    registry = Registry("lung", str(store))
    register_bundle(registry, tiny_bundle, champion=False)
    second = register_bundle(registry, other_bundle, champion=True)
    assert second.tags[PROMOTED_OVER] == "1"
    before, now = roll_back(registry, None)
    assert (before.number, now.number, registry.champion().number) == (2, 1, 1)
    assert registry.version(2).tags["rolled_back_to"] == "1"
    with pytest.raises(ConfigError, match="version 1 of lung had no champion before it: name one with --to"):
        roll_back(registry, None)
    assert roll_back(registry, 2)[1].number == 2


def test_the_list_says_what_became_of_every_version(store: Path, tiny_bundle: Path, other_bundle: Path):
    registry = Registry("lung", str(store))
    register_bundle(registry, tiny_bundle, champion=False)
    register_bundle(registry, other_bundle, champion=True)
    columns = [(row[0], row[1], row[4], row[6]) for row in version_rows(registry.versions())[1:]]
    assert columns == [("1", "", "", ""), ("2", "champion", "1", "promoted")]
    roll_back(registry, None)
    columns = [(row[0], row[1], row[6]) for row in version_rows(registry.versions())[1:]]
    assert columns == [("1", "champion", ""), ("2", "", "rolled back to 1")]


def test_what_is_not_there_is_named(store: Path, tiny_bundle: Path):
    register_bundle(Registry("lung", str(store)), tiny_bundle, champion=False)
    with pytest.raises(
        ConfigError, match="there is no model liver, known models are lung: add one with `mose-med models register`"
    ):
        Registry("liver", str(store)).champion()
    with pytest.raises(ConfigError, match="model lung has no version 7: there are 1"):
        Registry("lung", str(store)).version(7)
    with pytest.raises(
        ConfigError, match=r"there is no store in .*empty: name another, or run `mose-med models register`"
    ):
        Registry("lung", str(store.with_name("empty")))
    assert not store.with_name("empty").exists()
    with pytest.raises(ConfigError, match="model must be a name without / : and quotes, got 'a/b'"):
        Registry("a/b", str(store))
    with pytest.raises(ConfigError, match=r"bundle must be a zip file of `mose-med export bundle`, got gone\.zip"):
        register_bundle(Registry("lung", str(store)), Path("gone.zip"), champion=False)


def test_no_store_is_made_for_what_is_no_bundle(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    store = tmp_path / "store"
    assert invoke(["models", "register", str(tmp_path / "gone.zip"), "--tracking-uri", str(store)]) == 2
    assert "bundle must be a zip file" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


def test_a_damaged_bundle_is_not_registered(store: Path, tiny_bundle: Path, tmp_path: Path):
    content = bytearray(tiny_bundle.read_bytes())
    content[len(content) // 2] ^= 1
    (tmp_path / "broken.zip").write_bytes(content)
    with pytest.raises(DataError, match=r"bundle .*broken\.zip (is damaged|cannot be read)"):
        register_bundle(Registry("lung", str(store)), tmp_path / "broken.zip", champion=False)


@pytest.fixture
def no_flock(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise OSError(errno.ENOSYS, "Function not implemented")

    monkeypatch.setattr("fcntl.flock", refuse)


@pytest.mark.parametrize("locks", ["flock", "no flock"])
def test_promotions_in_a_local_store_wait_for_each_other(store: Path, locks: str, request: pytest.FixtureRequest):
    if locks == "no flock":
        request.getfixturevalue("no_flock")
    registry, order = Registry("lung", str(store)), []

    def second() -> None:
        with Registry("lung", str(store)).promotion_lock():
            order.append("second")

    with registry.promotion_lock():
        other = threading.Thread(target=second)
        other.start()
        time.sleep(0.2)
        order.append("first")
    other.join()
    assert order == ["first", "second"]


def test_a_server_keeps_versions_and_aliases(mlflow_server: MlflowServer, tiny_bundle: Path, tmp_path: Path):
    registry = Registry("on_server", mlflow_server.uri)
    version = register_bundle(registry, tiny_bundle, champion=False)
    assert registry.champion() == version
    assert registry.download(version, tmp_path / "back.zip").read_bytes() == tiny_bundle.read_bytes()


def test_two_versions_are_compared_by_the_command(
    store: Path, tiny_bundle: Path, other_bundle: Path, tiny_datalist: Path, capfd: pytest.CaptureFixture[str]
):
    where = ["--model", "lung", "--tracking-uri", str(store)]
    for bundle in (tiny_bundle, other_bundle):
        assert invoke(["models", "register", str(bundle), *where]) == 0
    capfd.readouterr()
    data = ["--datalist", str(tiny_datalist), "--num-samples", "4", "--device", "cpu", "--quiet"]
    assert invoke(["models", "compare", "1", "2", *data, *where]) == 0
    table = capfd.readouterr().out
    assert [
        name for name in ("version 1", "version 2", "GED", "M-IoU", "ECE", "test part of tiny") if name not in table
    ] == []


def test_the_commands(store: Path, tiny_bundle: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]):
    where = ["--model", "lung", "--tracking-uri", str(store)]
    assert invoke(["models", "register", str(tiny_bundle), *where]) == 0
    assert capfd.readouterr().out == "version 1 of lung, the champion\n"
    assert invoke(["models", "list", *where]) == 0
    header, row = capfd.readouterr().out.splitlines()
    assert header.split("  ")[0] == "version"
    assert row.split()[:2] == ["1", "champion"]
    assert invoke(["models", "download", *where, "--output-file", str(tmp_path / "c.zip"), "--quiet"]) == 0
    assert (tmp_path / "c.zip").read_bytes() == tiny_bundle.read_bytes()
    assert invoke(["models", "rollback", *where, "--to", "4"]) == 2
    assert "model lung has no version 4: there are 1" in " ".join(capfd.readouterr().err.split())
    assert invoke(["models", "list", "--tracking-uri", "http://127.0.0.1:9"]) == 2
    assert "MLflow server http://127.0.0.1:9 cannot be reached" in " ".join(capfd.readouterr().err.split())
