"""MLflow tracking of a training, in a store inside its own folder, with a copy on a server."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Mapping
from importlib.metadata import distributions
from pathlib import Path
from typing import Any

from ignite.engine import Engine, Events

from mose_med.checkpoint import read_checkpoint
from mose_med.files.hashes import file_sha256
from mose_med.handlers.checkpoints import LAST_NAME
from mose_med.handlers.processes import is_first_process
from mose_med.handlers.tracking.run_upload import BackgroundUpload
from mose_med.handlers.tracking.training_run import TrainingRun, require_mlflow

__all__ = ["MlflowTracking"]

_PACKAGES_NAME = "packages.txt"


class MlflowTracking:
    """Tracks one training: one named run holds its parameters, curves and best checkpoint.

    Attach it to the trainer alone, after :class:`~mose_med.handlers.EpochMetrics` has added the numbers of the
    validation, and after the checkpoints. A training that was stopped resumes in its own run. Of several processes, the
    first tracks.

    Args:
        folder: of the training; the store and the artifacts are kept in it.
        params: settings to record.
        run_name: name of the run; None for the folder's name.
        artifacts: files to keep when the training is complete, below ``folder``.
        datalist: file whose SHA-256 is recorded; its path is not.
        tracking_uri: of a server, or another store, that gets a copy of the run; None for none.

    Raises:
        MissingDependencyError: if MLflow is not installed.
    """

    def __init__(
        self,
        folder: str | os.PathLike[str],
        *,
        params: Mapping[str, Any],
        run_name: str | None = None,
        artifacts: tuple[str, ...] = (),
        datalist: str | os.PathLike[str] | None = None,
        tracking_uri: str | None = None,
    ) -> None:
        require_mlflow()
        self.folder = Path(folder).resolve()
        self.params = dict(params)
        self.run_name = run_name
        self.artifacts = tuple(artifacts)
        self.datalist = datalist
        self.tracking_uri = tracking_uri
        self._run: TrainingRun | None = None
        self._copy: BackgroundUpload | None = None

    def attach(self, engine: Engine) -> None:
        """Follow a trainer."""
        if is_first_process():  # in the other processes there may be no tracking: ask none of them
            engine.add_event_handler(Events.STARTED, self.start)
            engine.add_event_handler(Events.EPOCH_COMPLETED, self.end_epoch)
            engine.add_event_handler(Events.COMPLETED, self.complete)

    @property
    def run(self) -> TrainingRun:
        """The run, begun on first access."""
        if self._run is None:
            self._run = TrainingRun.open(self.folder, self.run_name)
        return self._run

    def start(self, engine: Engine) -> None:
        """Begin the run or resume it, and make up for an epoch that was saved but not tracked."""
        self.run.log_params(self.params | self._sizes(engine))
        self.run.set_tags(code_tags())
        packages = self.folder / _PACKAGES_NAME
        packages.write_text(installed_packages(), encoding="utf-8")
        self.run.add_artifact(packages)
        packages.unlink()
        last = self.folder / LAST_NAME
        if last.is_file():
            saved = read_checkpoint(last)
            if saved.epoch not in self.run.steps():
                numbers = {name: value for name, value in saved.metrics.items() if not name.startswith("best_")}
                self.run.log_metrics(numbers, saved.epoch)
        if self.tracking_uri is not None:
            self._copy = BackgroundUpload(self.run, self.tracking_uri)

    def end_epoch(self, engine: Engine) -> None:
        """Record the numbers of the epoch."""
        self.run.log_metrics(engine.state.metrics, engine.state.epoch)

    def complete(self, engine: Engine) -> None:
        """Once all epochs are done, keep the artifacts and mark the run as finished; until then it can be resumed."""
        if engine.state.epoch >= engine.state.max_epochs:
            for name in self.artifacts:
                self.run.add_artifact(self.folder / name)
            self.run.finish()
        if self._copy is not None:
            self._copy.close()

    def _sizes(self, engine: Engine) -> dict[str, Any]:
        sizes = {"max_epochs": engine.state.max_epochs, "epoch_length": engine.state.epoch_length}
        if self.datalist is not None:
            sizes["dataset_sha256"] = file_sha256(Path(self.datalist))
        return sizes


def code_tags() -> dict[str, str]:
    """Commit of this project's code, where it runs from a Git checkout; marked if files differ from it."""
    root = Path(__file__).resolve().parents[3]
    if not (root / ".git").exists():
        return {}
    commands = (["rev-parse", "HEAD"], ["status", "--porcelain", "--untracked-files=no"])
    try:
        commit, changes = (
            subprocess.run(["git", "-C", str(root), *command], capture_output=True, text=True, check=True).stdout
            for command in commands
        )
    except (OSError, subprocess.CalledProcessError):
        return {}
    return {"git_commit": commit.strip() + ("+changes" if changes.strip() else "")}


def installed_packages() -> str:
    """Name and version of every installed package, one per line, as pip reads them."""
    found = {f"{package.metadata['Name']}=={package.version}" for package in distributions()}
    return "\n".join(sorted(found, key=str.lower)) + "\n"
