from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from mose_med.errors import DataError
from mose_med.handlers.tracking.training_run import RECORD_NAME, TrainingRun

Folder = Callable[[str], Path]


@pytest.fixture
def run(mlflow_folder: Folder) -> TrainingRun:
    return TrainingRun.open(mlflow_folder("first"))


def test_a_training_goes_on_in_its_own_run(run: TrainingRun):
    assert TrainingRun.open(run.folder).run_id == run.run_id


def test_trainings_of_one_name_have_runs_of_their_own(run: TrainingRun, mlflow_folder: Folder):
    other = TrainingRun.open(mlflow_folder("second"), name="first")
    assert other.run_id != run.run_id
    assert other.snapshot().run.info.run_name == run.snapshot().run.info.run_name == "first"


def test_a_store_without_a_record_is_not_taken_for_ones_own(run: TrainingRun):
    (run.folder / RECORD_NAME).unlink()
    assert TrainingRun.find(run.folder) is None
    assert TrainingRun.open(run.folder).run_id != run.run_id


def test_a_damaged_record_is_named(run: TrainingRun):
    (run.folder / RECORD_NAME).write_text("{")
    with pytest.raises(DataError, match=r"mlflow_run\.json is damaged: delete it to begin another MLflow run"):
        TrainingRun.find(run.folder)


def test_params_are_kept_as_they_were_first_and_cut_to_what_mlflow_takes(run: TrainingRun):
    run.log_params({"seed": 1, "network": "x" * 7000})
    run.log_params({"seed": 2})
    params = run.snapshot().run.data.params
    assert (params["seed"], len(params["network"])) == ("1", 6000)


def test_numbers_that_are_not_finite_are_left_out(run: TrainingRun):
    run.log_metrics({"a": float("nan"), "b": float("inf"), "c": 1.0}, step=3)
    assert [(point.key, point.value, point.step) for point in run.snapshot().history] == [("c", 1.0, 3)]
    assert run.steps() == {3}


def test_the_numbers_of_an_epoch_are_one_request(run: TrainingRun, monkeypatch: pytest.MonkeyPatch):
    batches = []
    monkeypatch.setattr(run._client, "log_batch", lambda run_id, **batch: batches.append(batch))
    run.log_metrics({f"metric {number}": 1.0 for number in range(20)}, step=1)
    (batch,) = batches
    assert len(batch["metrics"]) == 20


def test_a_moved_training_takes_its_artifacts_along(run: TrainingRun, tmp_path: Path):
    (tmp_path / "best.pt").write_bytes(b"weights")
    run.add_artifact(tmp_path / "best.pt", "models")
    shutil.move(run.folder, tmp_path / "moved")
    moved = TrainingRun.open(tmp_path / "moved")
    (tmp_path / "scores.md").write_text("scores")
    moved.add_artifact(tmp_path / "scores.md")
    assert set(moved.snapshot().artifacts) == {"models/best.pt", "scores.md"}
    assert all(path.is_relative_to(tmp_path / "moved") for path in moved.snapshot().artifacts.values())


def test_a_finished_run_is_reopened_by_a_training_that_goes_on(run: TrainingRun):
    run.finish()
    assert run.snapshot().run.info.status == "FINISHED"
    assert TrainingRun.open(run.folder).snapshot().run.info.status == "RUNNING"


def test_a_store_without_the_recorded_run_is_named(run: TrainingRun, mlflow_folder: Folder):
    other = mlflow_folder("replaced")
    shutil.copyfile(run.folder / RECORD_NAME, other / RECORD_NAME)
    with pytest.raises(DataError, match=r"MLflow store .*mlflow\.db cannot be used: Run with id=\w+ not found"):
        TrainingRun.find(other)


@pytest.mark.parametrize(
    "use",
    [
        lambda run: run.log_metrics({"a": 1.0}),
        lambda run: run.log_params({"seed": 1}),
        lambda run: run.set_tags({"a": "b"}),
        lambda run: run.add_artifact(run.folder / RECORD_NAME),
        lambda run: run.finish(),
        lambda run: run.snapshot(),
    ],
)
def test_a_store_that_breaks_later_is_named_in_one_line(run: TrainingRun, use: Callable[[TrainingRun], object]):
    (run.folder / "mlflow.db").write_bytes(b"no database" * 99)
    with pytest.raises(DataError, match=r"^MLflow store .*mlflow\.db cannot be used: [^\n]*not a database[^\n]*$"):
        use(run)


def test_a_damaged_store_is_named(tmp_path: Path):
    (tmp_path / "mlflow.db").write_text("no database, but long enough to be read as the header of one")
    (tmp_path / RECORD_NAME).write_text('{"run_id": "x"}')
    with pytest.raises(DataError, match=r"MLflow store .*mlflow\.db cannot be used: .*file is not a database"):
        TrainingRun.find(tmp_path)
