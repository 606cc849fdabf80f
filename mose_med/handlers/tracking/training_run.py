"""The MLflow run of one training, in an embedded store inside the training's own folder.

The store is always the folder's own SQLite file, so that no server can stop a training; see
:mod:`mose_med.handlers.tracking.run_upload` for how a server gets a copy. A file next to it names the run: the same
training continues in the same run, and no other training ever finds it.
"""

from __future__ import annotations

import importlib.util
import json
import math
import os
import shutil
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from mose_med.errors import DataError, MissingDependencyError
from mose_med.files.credentials import cause_without_credentials, without_credentials
from mose_med.files.hashes import file_sha256

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Metric, Run

__all__ = [
    "EXPERIMENT",
    "RECORD_NAME",
    "STORE_NAME",
    "RunSnapshot",
    "TrainingRun",
    "named_store_errors",
    "require_mlflow",
]

#: The embedded SQLite store.
STORE_NAME = "mlflow.db"
#: File that says which run of the store is the training's.
RECORD_NAME = "mlflow_run.json"
#: Experiment of all trainings.
EXPERIMENT = "mose_med"

_ARTIFACTS = "mlruns"
_LONGEST_PARAM = 6000  # characters that every MLflow store takes


class RunSnapshot(NamedTuple):
    """All that a run holds at one moment.

    Attributes:
        run: name, times, status, params and tags.
        history: every point of every metric.
        artifacts: local file by its path in the run.
    """

    run: Run
    history: Sequence[Metric]
    artifacts: Mapping[str, Path]


class TrainingRun:
    """The tracked data of one training. Every method raises a DataError that names the store if it cannot be used.

    Args:
        folder: of the training.
        run_id: of its run in the folder's store.
    """

    def __init__(self, folder: Path, run_id: str) -> None:
        self.folder = folder
        self.run_id = run_id
        self._client = _client(folder)
        self._lock = threading.Lock()

    @classmethod
    def open(cls, folder: str | os.PathLike[str], name: str | None = None) -> TrainingRun:
        """The run of the training in ``folder``, begun if there is none.

        Args:
            folder: made if needed.
            name: of a new run; None for the folder's name.

        Raises:
            DataError: if the store there cannot be used.
            MissingDependencyError: if MLflow is not installed.
        """
        root = Path(folder).resolve()
        found = cls.find(root)
        if found is not None:
            found._client.update_run(found.run_id, status="RUNNING")
            return found
        root.mkdir(parents=True, exist_ok=True)
        client = _client(root)
        experiment = client.get_experiment_by_name(EXPERIMENT)
        place = (root / _ARTIFACTS).as_uri()
        identity = experiment.experiment_id if experiment else client.create_experiment(EXPERIMENT, place)
        run_id = client.create_run(identity, run_name=name or root.name).info.run_id
        temporary = root / f".{RECORD_NAME}.tmp"
        temporary.write_text(json.dumps({"run_id": run_id}) + "\n", encoding="utf-8")
        temporary.replace(root / RECORD_NAME)
        return cls(root, run_id)

    @classmethod
    def find(cls, folder: str | os.PathLike[str]) -> TrainingRun | None:
        """The run of the training in ``folder``; None if it was not tracked, or its store is gone.

        Raises:
            DataError: if the record of the run cannot be read, or its store cannot be used.
            MissingDependencyError: if there is one, but MLflow is not installed.
        """
        root = Path(folder).resolve()
        if not (root / RECORD_NAME).is_file() or not (root / STORE_NAME).is_file():
            return None
        try:
            run_id = str(json.loads((root / RECORD_NAME).read_text(encoding="utf-8"))["run_id"])
        except (ValueError, KeyError, TypeError) as error:
            raise DataError(f"{root / RECORD_NAME} is damaged: delete it to begin another MLflow run") from error
        found = cls(root, run_id)
        with named_store_errors(str(root / STORE_NAME)):
            found._client.get_run(run_id)
        return found

    def log_params(self, params: Mapping[str, Any]) -> None:
        """Record settings that are not recorded yet; a run's params never change."""
        from mlflow.entities import Param

        with self._store():
            known = self._client.get_run(self.run_id).data.params
            new = [Param(name, str(value)[:_LONGEST_PARAM]) for name, value in params.items() if name not in known]
            self._client.log_batch(self.run_id, params=new)

    def set_tags(self, tags: Mapping[str, str]) -> None:
        """Set tags, or change them."""
        from mlflow.entities import RunTag

        with self._store():
            self._client.log_batch(self.run_id, tags=[RunTag(*tag) for tag in tags.items()])

    def log_metrics(self, values: Mapping[str, float], step: int = 0) -> None:
        """Record numbers of a step; those that are not finite are left out."""
        from mlflow.entities import Metric

        now = time.time_ns() // 1_000_000
        points = [Metric(name, float(value), now, step) for name, value in values.items() if math.isfinite(value)]
        with self._store():
            self._client.log_batch(self.run_id, metrics=points)

    def steps(self) -> set[int]:
        """Steps that have numbers."""
        return {point.step for point in self.snapshot().history}

    def add_artifact(self, file: Path, folder: str = "") -> None:
        """Keep a copy of a file, and its SHA-256 as a tag by which an upload knows whether it has changed.

        Args:
            file: what to keep.
            folder: inside the run's artifacts.
        """
        name = f"{folder}/{file.name}" if folder else file.name
        with self._store():
            target = self._artifact_root() / name
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(file, target)
            self._client.set_tag(self.run_id, f"sha256/{name}", file_sha256(file))

    def finish(self) -> None:
        """Mark the run as finished; it can still be added to."""
        with self._store():
            self._client.set_terminated(self.run_id, "FINISHED")

    def snapshot(self) -> RunSnapshot:
        """All that the run holds now."""
        with self._store():
            run = self._client.get_run(self.run_id)
            names = sorted(run.data.metrics)
            history = [point for name in names for point in self._client.get_metric_history(self.run_id, name)]
            root = self._artifact_root()
            artifacts = {str(p.relative_to(root)): p for p in sorted(root.rglob("*")) if p.is_file()}
        return RunSnapshot(run, history, artifacts)

    @contextmanager
    def _store(self) -> Iterator[None]:
        """One user at a time, whose errors name the store."""
        with self._lock, named_store_errors(str(self.folder / STORE_NAME)):
            yield

    def _artifact_root(self) -> Path:
        """In the folder where it is now: the store remembers where the training began."""
        return self.folder / _ARTIFACTS / self.run_id / "artifacts"


def require_mlflow() -> None:
    """Raise the error that names the remedy where MLflow is not installed.

    Raises:
        MissingDependencyError: if it is not.
    """
    if importlib.util.find_spec("mlflow") is None:
        raise MissingDependencyError("mlflow", "mlflow")


@contextmanager
def named_store_errors(store: str) -> Iterator[None]:
    """Turn the errors of MLflow, its database and its server into a one-line error.

    Raises:
        DataError: naming ``store``.
    """
    from mlflow.exceptions import MlflowException
    from sqlalchemy.exc import SQLAlchemyError

    try:
        yield
    except (MlflowException, SQLAlchemyError, OSError) as error:  # those of requests are OSError
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        message = without_credentials(f"MLflow store {store} cannot be used: {reason}")
        raise DataError(message) from cause_without_credentials(error)


def _client(folder: Path) -> MlflowClient:
    require_mlflow()
    from mlflow import MlflowClient

    with named_store_errors(str(folder / STORE_NAME)):
        return MlflowClient(tracking_uri=f"sqlite:///{folder / STORE_NAME}")
