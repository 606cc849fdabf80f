"""A registry in a folder that several commands make at once, and one that is moved."""

from __future__ import annotations

import errno
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from mose_med.handlers.tracking.run_upload import upload
from mose_med.handlers.tracking.store_files import find_artifacts
from mose_med.handlers.tracking.training_run import TrainingRun
from pipelines.models.actions import register_bundle
from pipelines.models.registry import Registry

COMMAND = [sys.executable, "-c", "from pipelines.cli import main; main()", "models", "register"]


@pytest.fixture
def moved(mlflow_folder: Callable[[str], Path], tiny_bundle: Path) -> Path:
    """Folder of a store with one version, which was made in another place that is gone."""
    made = mlflow_folder("made here")
    register_bundle(Registry("lung", str(made)), tiny_bundle, champion=False)
    return made.rename(made.with_name("moved there"))


@pytest.mark.slow
def test_commands_that_make_a_store_at_once_all_register(tiny_bundle: Path, tmp_path: Path):
    store = tmp_path / "new" / "registry"
    arguments = [str(tiny_bundle), "--tracking-uri", str(store), "--quiet", "--model"]
    models = ["lung", "lung", "liver", "lung"]
    running = [subprocess.Popen([*COMMAND, *arguments, model], stderr=subprocess.PIPE, text=True) for model in models]
    told = [process.communicate()[1] for process in running]
    assert [process.returncode for process in running] == [0] * len(models), told
    assert [len(Registry(model, str(store)).versions()) for model in ("lung", "liver")] == [1, 1]


def test_a_moved_store_gives_its_bundles(moved: Path, tiny_bundle: Path, tmp_path: Path):
    registry = Registry("lung", str(moved))
    assert registry.download(registry.champion(), tmp_path / "back.zip").read_bytes() == tiny_bundle.read_bytes()


def test_a_moved_store_is_added_to_where_it_is(moved: Path, tiny_bundle: Path, tmp_path: Path):
    registry = Registry("liver", str(moved))
    version = register_bundle(registry, tiny_bundle, champion=False)
    assert registry.download(version, tmp_path / "back.zip").read_bytes() == tiny_bundle.read_bytes()
    assert not moved.with_name("made here").exists()


def test_a_copied_store_leaves_the_first_one_alone(moved: Path, tiny_bundle: Path, tmp_path: Path):
    first = shutil.copytree(moved, moved.with_name("made here"))
    before = sorted(first.rglob("*"))
    version = register_bundle(Registry("liver", str(moved)), tiny_bundle, champion=False)
    assert Registry("liver", str(moved)).download(version, tmp_path / "back.zip").is_file()
    assert sorted(first.rglob("*")) == before


def test_a_training_is_copied_where_files_cannot_be_locked(
    moved: Path, mlflow_folder: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch
):
    def refuse(*_: object) -> None:
        raise OSError(errno.ENOSYS, "Function not implemented")

    run, registry = TrainingRun.open(mlflow_folder("training")), Registry("lung", str(moved))
    monkeypatch.setattr("fcntl.flock", refuse)
    assert upload(run, registry.uri) == upload(run, registry.uri)


def test_a_training_is_copied_into_a_moved_store(moved: Path, mlflow_folder: Callable[[str], Path], tmp_path: Path):
    run = TrainingRun.open(mlflow_folder("training"))
    (tmp_path / "scores.md").write_text("| 1 |")
    run.add_artifact(tmp_path / "scores.md", "evaluation")
    registry = Registry("lung", str(moved))
    copy = upload(run, registry.uri)
    (file,) = find_artifacts(registry._client, copy, "evaluation", tmp_path)
    assert (file.read_text(), moved in file.parents) == ("| 1 |", True)
