"""The files of an MLflow store in an SQLite file: who may change it now, and where its artifacts are.

MLflow records absolute paths. Artifacts lie beside the store, and are looked for there wherever the folder is now.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from shutil import copyfile
from typing import TYPE_CHECKING
from urllib.parse import unquote, urlsplit

from mose_med.files.run_lock import taking_part

if TYPE_CHECKING:
    from mlflow import MlflowClient

__all__ = ["ARTIFACTS", "find_artifacts", "keep_artifact", "lock_beside", "run_artifacts", "store_file", "store_lock"]

#: Folder of the artifacts, beside the store.
ARTIFACTS = "artifacts"
_SQLITE = "sqlite:///"


def store_file(tracking_uri: str) -> Path | None:
    """The SQLite file of a store; None if the store is none.

    Example:
        >>> store_file("sqlite:////data/mlflow.db"), store_file("http://127.0.0.1:5000")
        (PosixPath('/data/mlflow.db'), None)
    """
    if not tracking_uri.startswith(_SQLITE):
        return None
    return Path(tracking_uri.removeprefix(_SQLITE).partition("?")[0]).absolute()


@contextmanager
def store_lock(tracking_uri: str) -> Iterator[None]:
    """Held while a store in a file is written; a server needs no lock, and a read-only folder has none.

    Raises:
        ConfigError: if a command on another machine holds it, which has not been seen for minutes.
    """
    file = store_file(tracking_uri)
    with nullcontext() if file is None else lock_beside(file):
        yield


@contextmanager
def lock_beside(path: Path) -> Iterator[None]:
    """Held by one command at a time, in a folder beside a file that need not be there.

    Raises:
        ConfigError: as :func:`store_lock`.
    """
    with taking_part(path, beside=True, kind="MLflow store") as part, part.locked():
        yield


def run_artifacts(client: MlflowClient, run_id: str) -> str:
    """URI of the artifacts of a run, where the store is now."""
    recorded = str(client.get_run(run_id).info.artifact_uri)
    file, address = store_file(str(client.tracking_uri)), urlsplit(recorded)
    if file is None or address.scheme not in ("", "file"):
        return recorded
    path, tail = Path(unquote(address.path)), (ARTIFACTS, run_id, "artifacts")
    if path.parts[-3:] != tail or ((path.parents[1]).is_dir() and not (file.parent / ARTIFACTS).is_dir()):
        return recorded
    return file.parent.joinpath(*tail).as_uri()


def find_artifacts(client: MlflowClient, run_id: str, folder: str, scratch: Path) -> list[Path]:
    """Files in a folder of a run's artifacts.

    Args:
        client: of the store.
        run_id: of the run.
        folder: of the artifacts.
        scratch: gets those that are not on this machine.
    """
    here = _local(client, run_id)
    if here is not None:
        return sorted(path for path in (here / folder).glob("*") if path.is_file())
    names = [entry.path for entry in client.list_artifacts(run_id, folder) if not entry.is_dir]
    return [Path(client.download_artifacts(run_id, name, str(scratch))) for name in names]


def keep_artifact(client: MlflowClient, run_id: str, file: Path, folder: str | None) -> None:
    """Keep a copy of a file among a run's artifacts."""
    here = _local(client, run_id)
    if here is None:
        client.log_artifact(run_id, str(file), folder)
        return
    target = here / (folder or "") / file.name
    target.parent.mkdir(parents=True, exist_ok=True)
    copyfile(file, target)


def _local(client: MlflowClient, run_id: str) -> Path | None:
    """Folder of a run's artifacts in a store of this machine; None leaves them to MLflow."""
    address = urlsplit(run_artifacts(client, run_id))
    is_here = store_file(str(client.tracking_uri)) is not None and address.scheme == "file"
    return Path(unquote(address.path)) if is_here else None
