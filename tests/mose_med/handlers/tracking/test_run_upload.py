from __future__ import annotations

import logging
import socket
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from mose_med.errors import DataError
from mose_med.handlers.tracking.run_upload import COPY_OF, BackgroundUpload, store_client, upload
from mose_med.handlers.tracking.training_run import TrainingRun

Folder = Callable[[str], Path]


@pytest.fixture
def run(mlflow_folder: Folder, tmp_path: Path) -> TrainingRun:
    """A run with two params, two points of a curve and an artifact."""
    found = TrainingRun.open(mlflow_folder("training"))
    found.log_params({"seed": 0, "cost": "iou"})
    for step in (1, 2):
        found.log_metrics({"val_ged": 1.0 / step}, step)
    (tmp_path / "scores.md").write_text("| 1 |")
    found.add_artifact(tmp_path / "scores.md", "evaluation/test")
    return found


@pytest.fixture
def target(mlflow_folder: Folder) -> str:
    return f"sqlite:///{mlflow_folder('target')}/mlflow.db"


def content(target: str) -> dict[str, Any]:
    """What the only run of a store holds."""
    client = store_client(target)
    experiment = client.get_experiment_by_name("mose_med")
    (found,) = client.search_runs([experiment.experiment_id])
    identity = found.info.run_id
    return {
        "name": found.info.run_name,
        "status": found.info.status,
        "params": found.data.params,
        "copy_of": found.data.tags[COPY_OF],
        "curve": [(point.step, point.value) for point in client.get_metric_history(identity, "val_ged")],
        "files": [file.path for file in client.list_artifacts(identity, "evaluation/test")],
        "text": Path(client.download_artifacts(identity, "evaluation/test/scores.md")).read_text(),
    }


def test_a_copy_holds_all_that_the_run_does(run: TrainingRun, target: str):
    run.finish()
    upload(run, target)
    assert content(target) == {
        "name": "training",
        "status": "FINISHED",
        "params": {"seed": "0", "cost": "iou"},
        "copy_of": run.run_id,
        "curve": [(1, 1.0), (2, 0.5)],
        "files": ["evaluation/test/scores.md"],
        "text": "| 1 |",
    }


def test_an_upload_can_be_repeated(run: TrainingRun, target: str):
    first = upload(run, target)
    before = content(target)
    assert upload(run, target) == first
    assert content(target) == before


def test_only_what_is_new_is_sent(run: TrainingRun, target: str, tmp_path: Path):
    upload(run, target)
    run.log_metrics({"val_ged": 0.2}, 3)
    (tmp_path / "scores.md").write_text("| 2 |")
    run.add_artifact(tmp_path / "scores.md", "evaluation/test")
    upload(run, target)
    found = content(target)
    assert (found["curve"], found["text"]) == ([(1, 1.0), (2, 0.5), (3, 0.2)], "| 2 |")


def test_an_upload_that_broke_off_is_completed(run: TrainingRun, target: str, monkeypatch: pytest.MonkeyPatch):
    import mose_med.handlers.tracking.run_upload as module

    with monkeypatch.context() as patch:
        patch.setattr(module, "copyfile", lambda *_: (_ for _ in ()).throw(OSError("the line is dead")))
        with pytest.raises(DataError, match="cannot be used: the line is dead"):
            upload(run, target)
    upload(run, target)
    assert content(target)["text"] == "| 1 |"


def test_a_server_that_is_not_there_is_named_within_seconds_and_without_its_password(run: TrainingRun):
    with pytest.raises(DataError, match=r"MLflow server http://127\.0\.0\.1:9 cannot be reached \(ConnectionError\)"):
        upload(run, "http://user:secret@127.0.0.1:9")


def test_a_server_that_never_answers_is_given_up(run: TrainingRun, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("mose_med.handlers.tracking.run_upload._REACH_SECONDS", 0.2)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        port = silent.getsockname()[1]
        with pytest.raises(
            DataError, match=rf"MLflow server http://127\.0\.0\.1:{port} cannot be reached \(ReadTimeout\)"
        ):
            upload(run, f"http://127.0.0.1:{port}")


def test_the_background_reports_a_lost_server_once(run: TrainingRun, caplog: pytest.LogCaptureFixture):
    with caplog.at_level(logging.WARNING):
        copy = BackgroundUpload(run, "http://127.0.0.1:9", interval_s=0.01)
        time.sleep(0.2)
        copy.close()
    assert [record.message for record in caplog.records] == [
        "MLflow server http://127.0.0.1:9 cannot be reached (ConnectionError): start it or name another; "
        "tracking continues in the training's folder"
    ]


def test_the_background_has_sent_everything_when_it_is_closed(run: TrainingRun, target: str):
    copy = BackgroundUpload(run, target)
    run.log_metrics({"val_ged": 0.2}, 3)
    copy.close()
    assert content(target)["curve"][-1] == (3, 0.2)


def test_a_copy_is_brought_up_to_date_by_the_clock_and_not_by_the_epoch(
    run: TrainingRun, monkeypatch: pytest.MonkeyPatch
):
    uploads = []
    monkeypatch.setattr("mose_med.handlers.tracking.run_upload.upload", lambda *_: uploads.append(time.monotonic()))
    copy = BackgroundUpload(run, "http://127.0.0.1:9", interval_s=600)
    for epoch in range(20):
        run.log_metrics({"val_ged": 0.2}, epoch)
    copy.close()
    assert len(uploads) == 2
    copy = BackgroundUpload(run, "http://127.0.0.1:9", interval_s=0.01)
    time.sleep(0.5)
    copy.close()
    assert len(uploads) > 5
