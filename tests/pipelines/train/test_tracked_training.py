"""Training with a real MLflow server on loopback, which dies in the middle."""

from __future__ import annotations

import hashlib
import json
import sqlite3
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest

from mose_med.errors import ConfigError
from mose_med.handlers import STORE_NAME, CheckpointKeeper, TrainingRun
from mose_med.handlers.tracking.run_upload import COPY_OF, store_client
from pipelines.cli import invoke
from pipelines.evaluate.run import EvaluateOptions, evaluate
from pipelines.train.run import TrainOptions, train
from pipelines.train.tracked_training import sync_training, train_and_evaluate
from tests.fixtures.mlflow import MlflowServer, store_contents

pytestmark = pytest.mark.usefixtures("few_retries")


@pytest.fixture
def options(tiny_datalist: Path, tiny_overlay: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> TrainOptions:
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    monkeypatch.setattr("pipelines.export.bundle.torchscript_bytes", lambda *_: b"script")
    return TrainOptions(tiny_datalist, tmp_path / "run", (str(tiny_overlay),), device="cpu", tracking=True, quiet=True)


@pytest.fixture(scope="module")
def tracked(
    tiny_datalist: Path, tiny_overlay: Path, mlflow_server: MlflowServer, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """Folder of a whole training that has a copy on the server. Read only."""
    folder = tmp_path_factory.mktemp("tracked") / "run"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("pipelines.export.bundle.torchscript_bytes", lambda *_: b"script")
        patch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "1")
        options = TrainOptions(tiny_datalist, folder, (str(tiny_overlay),), device="cpu", tracking=True, quiet=True)
        return train_and_evaluate(replace(options, tracking_uri=mlflow_server.uri)).output_dir


def curve(client, run_id: str, name: str = "val_ged") -> list[int]:
    return [point.step for point in client.get_metric_history(run_id, name)]


def copies(server: MlflowServer, folder: Path) -> list[str]:
    """Ids of the copies of a training's run on the server."""
    client = store_client(server.uri)
    wanted = f"tags.`{COPY_OF}` = '{TrainingRun.find(folder).run_id}'"
    experiment = client.get_experiment_by_name("mose_med")
    return [run.info.run_id for run in client.search_runs([experiment.experiment_id], wanted)]


def test_one_run_holds_training_evaluation_figures_and_bundle(tracked: Path, tiny_datalist: Path):
    held = TrainingRun.find(tracked).snapshot()
    assert held.run.info.status == "FINISHED"
    assert held.run.data.params["dataset_sha256"] == hashlib.sha256(tiny_datalist.read_bytes()).hexdigest()
    assert {"val_ged", "train_loss", "test/compact 16/ged", "test/compact random codes 16/ged"} <= set(
        held.run.data.metrics
    )
    figures = {f"evaluation/test/{name}" for name in ("metrics.json", "scores.md", "samples.png", "reliability.png")}
    assert set(held.artifacts) == figures | {"best.pt", "packages.txt", "bundle/bundle.zip"}
    assert "torch==" in held.artifacts["packages.txt"].read_text()
    assert len(held.run.data.tags["git_commit"].removesuffix("+changes")) == 40


def test_nothing_in_the_run_says_where_the_data_lie_or_whose_they_are(tracked: Path, tiny_datalist: Path):
    held = TrainingRun.find(tracked).snapshot()
    said = json.dumps([held.run.data.params, held.run.data.tags, list(held.artifacts)])
    said += "".join(p.read_text() for p in held.artifacts.values() if p.suffix in (".json", ".md", ".txt"))
    assert str(tiny_datalist.parent) not in said
    assert "P-5" not in said


def test_no_byte_of_the_stores_says_it(tracked: Path, tiny_datalist: Path, mlflow_server: MlflowServer):
    words = [word.encode() for word in (str(tiny_datalist.parent), "P-1_nodule", "P-5_nodule")]
    for content in (store_contents(tracked), store_contents(mlflow_server.folder)):
        assert b"val_ged" in content
        assert [word for word in words if word in content] == []


def test_an_evaluation_of_other_data_is_told_apart(options: TrainOptions, tmp_path: Path):
    best = train(options).best_checkpoint
    content = json.loads(options.datalist.read_text()) | {"name": "other site"}
    other = options.datalist.with_name("other.json")
    other.write_text(json.dumps(content))
    evaluate(EvaluateOptions(other, best, tmp_path / "scores", device="cpu", quiet=True))
    metrics = TrainingRun.find(best.parent).snapshot().run.data.metrics
    assert "other_site/test/compact 16/ged" in metrics
    assert not any(name.startswith("test/") for name in metrics)


@pytest.mark.slow
def test_a_locked_store_leaves_an_evaluation_done_and_gets_it_from_the_next_run(
    options: TrainOptions, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    best = train(options).best_checkpoint
    where = ["--datalist", str(options.datalist), "--checkpoint", str(best), "--output-dir", str(tmp_path / "scores")]
    with closing(sqlite3.connect(best.parent / STORE_NAME, isolation_level=None)) as other:
        other.execute("BEGIN EXCLUSIVE")
        assert invoke(["evaluate", *where, "--device", "cpu", "--quiet"]) == 0
    said = " ".join(capsys.readouterr().err.split())
    assert "the scores are written, but not added to the MLflow run of their training: run the same command" in said
    assert "test/compact 16/ged" not in TrainingRun.find(best.parent).snapshot().run.data.metrics
    assert invoke(["evaluate", *where, "--device", "cpu", "--quiet"]) == 0
    held = TrainingRun.find(best.parent).snapshot()
    assert "test/compact 16/ged" in held.run.data.metrics
    assert "evaluation/test/scores.md" in held.artifacts


def test_a_server_gets_the_whole_run(tracked: Path, mlflow_server: MlflowServer):
    (copy,) = copies(mlflow_server, tracked)
    client = store_client(mlflow_server.uri)
    assert client.get_run(copy).info.status == "FINISHED"
    assert curve(client, copy) == [1, 2]
    assert [file.path for file in client.list_artifacts(copy, "bundle")] == ["bundle/bundle.zip"]
    assert mlflow_server.uri not in (tracked / "train.yaml").read_text()


def test_a_server_that_dies_stops_nothing_and_gets_the_rest_when_it_is_back(
    options: TrainOptions, mlflow_server: MlflowServer, monkeypatch: pytest.MonkeyPatch
):
    save = CheckpointKeeper.save

    def kill_then_save(keeper: CheckpointKeeper, engine) -> None:
        if engine.state.epoch == 2:
            mlflow_server.kill()
        save(keeper, engine)

    monkeypatch.setattr(CheckpointKeeper, "save", kill_then_save)
    options = replace(options, tracking_uri=mlflow_server.uri, max_epochs=3)
    try:
        result = train(options)
    finally:
        mlflow_server.start()
    assert curve_of(result.output_dir) == [1, 2, 3]
    copy = sync_training(result.output_dir, mlflow_server.uri)
    assert copies(mlflow_server, result.output_dir) == [copy]
    assert curve(store_client(mlflow_server.uri), copy) == [1, 2, 3]
    train_and_evaluate(options)
    client = store_client(mlflow_server.uri)
    assert (copies(mlflow_server, result.output_dir), client.get_run(copy).info.status) == ([copy], "FINISHED")


def curve_of(folder: Path) -> list[int]:
    return sorted(point.step for point in TrainingRun.find(folder).snapshot().history if point.key == "val_ged")


def test_a_resumed_training_goes_on_in_its_run_and_two_trainings_never_share_one(
    options: TrainOptions, mlflow_server: MlflowServer
):
    options = replace(options, tracking_uri=mlflow_server.uri)
    train(replace(options, max_minutes=1e-6))
    result = train(options)
    other = train(replace(options, output_dir=result.output_dir.parent / "again" / "run"))
    (copy,), (others,) = copies(mlflow_server, result.output_dir), copies(mlflow_server, other.output_dir)
    assert copy != others
    client = store_client(mlflow_server.uri)
    assert curve(client, copy) == curve(client, others) == [1, 2]


def test_an_epoch_that_was_saved_but_not_tracked_is_made_up_for(options: TrainOptions, monkeypatch: pytest.MonkeyPatch):
    from mose_med.handlers import MlflowTracking

    def killed(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(MlflowTracking, "end_epoch", killed)
        with pytest.raises(KeyboardInterrupt):
            train(options)
    assert curve_of(train(options).output_dir) == [1, 2]


def test_the_environment_does_not_replace_the_own_store(options: TrainOptions, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9")
    assert curve_of(train(options).output_dir) == [1, 2]


def test_an_evaluation_does_not_fail_for_a_damaged_store(
    options: TrainOptions, tmp_path: Path, caplog: pytest.LogCaptureFixture
):
    best = train(replace(options, tracking=False, max_epochs=1)).best_checkpoint
    best.with_name("mlflow.db").write_text("no database, but long enough to be read as the header of one")
    best.with_name("mlflow_run.json").write_text('{"run_id": "x"}')
    evaluate(EvaluateOptions(options.datalist, best, tmp_path / "scores", device="cpu", quiet=True))
    assert "the scores are written, but not added to the MLflow run of their training" in caplog.text


def test_a_folder_without_a_tracked_training_is_named(tmp_path: Path):
    with pytest.raises(ConfigError, match="has no tracked training: name the output folder of mose-med train"):
        sync_training(tmp_path, "http://127.0.0.1:9")
