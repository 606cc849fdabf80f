"""Copies of a training's run on an MLflow server (or in any other MLflow store).

A copy is made by sending what the server does not have yet, so that it can be repeated at any time: every minute, when
the server is back, or days later. It carries the id of the run it copies as a tag and is found by it.
"""

from __future__ import annotations

import logging
import tempfile
import threading
from collections.abc import Callable
from pathlib import Path
from shutil import copyfile
from typing import TYPE_CHECKING, TypeVar

from mose_med.errors import DataError
from mose_med.files.credentials import cause_without_credentials, without_credentials
from mose_med.handlers.tracking.store_files import ARTIFACTS, keep_artifact, lock_beside, store_file, store_lock
from mose_med.handlers.tracking.training_run import EXPERIMENT, RunSnapshot, TrainingRun, named_store_errors

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Run

__all__ = [
    "COPY_OF",
    "BackgroundUpload",
    "create_if_missing",
    "experiment_id",
    "require_reachable",
    "store_client",
    "upload",
]

#: Tag of a copy: id of the run it is a copy of.
COPY_OF = "mose_med.run_id"

_REACH_SECONDS = 5.0
_POINTS_AT_ONCE = 500  # an MLflow server takes 1000 items in a request
_T = TypeVar("_T")
_logger = logging.getLogger(__name__)


def upload(run: TrainingRun, tracking_uri: str) -> str:
    """Update the copy of a run; create it if needed.

    Args:
        run: of a training.
        tracking_uri: of the store that holds the copy.

    Returns:
        The id of the copy.

    Raises:
        DataError: if the store cannot be reached or refuses.
    """
    # Two at once would make two copies.
    with named_store_errors(without_credentials(tracking_uri)), lock_beside(run.folder / "mlflow_upload"):
        require_reachable(tracking_uri)
        client = store_client(tracking_uri)
        return _send(run.snapshot(), client, run.run_id)


def store_client(tracking_uri: str) -> MlflowClient:
    """Client of a store, for runs and models."""
    from mlflow import MlflowClient

    with store_lock(tracking_uri):  # two that made its tables at once would both fail
        return MlflowClient(tracking_uri=tracking_uri, registry_uri=tracking_uri)


def require_reachable(tracking_uri: str) -> None:
    """Check that a server answers; MLflow itself would retry for minutes.

    Raises:
        DataError: if there is none within seconds.
    """
    if not tracking_uri.startswith(("http://", "https://")):
        return
    import requests

    try:
        requests.get(f"{tracking_uri.rstrip('/')}/health", timeout=_REACH_SECONDS)
    except requests.RequestException as error:
        reason = type(error).__name__
        raise DataError(
            f"MLflow server {without_credentials(tracking_uri)} cannot be reached ({reason}): start it or name another"
        ) from cause_without_credentials(error)


def experiment_id(client: MlflowClient, tracking_uri: str) -> str:
    """The experiment of all trainings, made if needed; artifacts of an SQLite store are kept beside it."""
    with store_lock(tracking_uri):
        found = client.get_experiment_by_name(EXPERIMENT)
        if found is not None:
            return str(found.experiment_id)
        file = store_file(tracking_uri)
        place = None if file is None else (file.parent / ARTIFACTS).as_uri()
        created = create_if_missing(lambda: client.create_experiment(EXPERIMENT, place))
        return str(created or client.get_experiment_by_name(EXPERIMENT).experiment_id)


def create_if_missing(make: Callable[[], _T]) -> _T | None:
    """Create something in a store; None if another user of the server has created it meanwhile."""
    from mlflow.exceptions import MlflowException

    try:
        return make()
    except MlflowException as error:
        if error.error_code != "RESOURCE_ALREADY_EXISTS":
            raise
        return None


class BackgroundUpload:
    """Updates a copy at once, on a timer and on close, in a thread that the training does not wait for.

    A store that cannot be reached is reported once; the next time tries again.

    Args:
        run: what to copy.
        tracking_uri: of the store that holds the copy.
        interval_s: from the end of an upload to the next.
    """

    def __init__(self, run: TrainingRun, tracking_uri: str, interval_s: float = 60.0) -> None:
        self._run = run
        self._tracking_uri = tracking_uri
        self._interval_s = interval_s
        self._closing = threading.Event()
        self._failing = False
        self._thread = threading.Thread(target=self._work, name="mlflow upload", daemon=True)
        self._thread.start()

    def close(self, timeout_s: float = 30.0) -> None:
        """Upload once more and wait for it for a limited time: the run is safe in its own store."""
        self._closing.set()
        self._thread.join(timeout_s)

    def _work(self) -> None:
        while not self._closing.is_set():
            self._try()
            self._closing.wait(self._interval_s)
        self._try()

    def _try(self) -> None:
        try:
            upload(self._run, self._tracking_uri)
        except Exception as error:  # whatever fails on the server, the training continues
            if not self._failing:
                _logger.warning("%s; tracking continues in the training's folder", _first_line(error))
            self._failing = True
        else:
            if self._failing:
                _logger.info(
                    "MLflow store %s can be reached again and is up to date", without_credentials(self._tracking_uri)
                )
            self._failing = False


def _send(snapshot: RunSnapshot, client: MlflowClient, run_id: str) -> str:
    from mlflow.entities import RunTag

    copy = _copy(snapshot, client, run_id)
    identity = str(copy.info.run_id)
    _send_numbers(snapshot, client, copy)
    _send_artifacts(snapshot, client, copy)
    tags = [RunTag(*tag) for tag in snapshot.run.data.tags.items() - copy.data.tags.items()]
    client.log_batch(identity, tags=tags)  # after the artifacts, whose SHA-256 are among them
    if copy.info.status != snapshot.run.info.status:
        if snapshot.run.info.status == "RUNNING":
            client.update_run(identity, status="RUNNING")
        else:
            client.set_terminated(identity, snapshot.run.info.status, snapshot.run.info.end_time)
    return identity


def _copy(snapshot: RunSnapshot, client: MlflowClient, run_id: str) -> Run:
    experiment = experiment_id(client, client.tracking_uri)
    found = client.search_runs([experiment], f"tags.`{COPY_OF}` = '{run_id}'")
    if found:
        return client.get_run(found[0].info.run_id)
    info = snapshot.run.info
    return client.create_run(experiment, start_time=info.start_time, tags={COPY_OF: run_id}, run_name=info.run_name)


def _send_numbers(snapshot: RunSnapshot, client: MlflowClient, copy: Run) -> None:
    from mlflow.entities import Param

    identity = copy.info.run_id
    params = [Param(*pair) for pair in snapshot.run.data.params.items() if pair[0] not in copy.data.params]
    client.log_batch(identity, params=params)
    there = {
        (point.key, point.step, point.timestamp)
        for name in copy.data.metrics
        for point in client.get_metric_history(identity, name)
    }
    points = [point for point in snapshot.history if (point.key, point.step, point.timestamp) not in there]
    for first in range(0, len(points), _POINTS_AT_ONCE):
        client.log_batch(identity, metrics=points[first : first + _POINTS_AT_ONCE])


def _send_artifacts(snapshot: RunSnapshot, client: MlflowClient, copy: Run) -> None:
    for name, file in snapshot.artifacts.items():
        tag = f"sha256/{name}"
        if copy.data.tags.get(tag) == snapshot.run.data.tags.get(tag):
            continue
        folder = str(Path(name).parent)
        with tempfile.TemporaryDirectory() as still:  # the file may be replaced meanwhile
            kept = Path(still) / file.name
            copyfile(file, kept)
            keep_artifact(client, copy.info.run_id, kept, None if folder == "." else folder)


def _first_line(error: BaseException) -> str:
    return without_credentials((str(error).splitlines() or [type(error).__name__])[0])
