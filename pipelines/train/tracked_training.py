"""A training with all that its MLflow run must hold: the evaluation of its best epoch, and the bundle of it."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

from mose_med.data import load_datalist
from mose_med.errors import ConfigError, DataError
from mose_med.handlers import TrainingRun
from mose_med.handlers.tracking.run_upload import upload
from mose_med.handlers.tracking.store_uri import store_uri
from pipelines.common.command_line.console import how_to_resume
from pipelines.common.mlflow_settings import calm_mlflow
from pipelines.evaluate.run import EvaluateOptions, evaluate
from pipelines.export.bundle import ExportBundleOptions, export_bundle
from pipelines.train.run import TrainOptions, TrainResult, train
from pipelines.train.torchrun import Process

__all__ = ["BUNDLE_NAME", "EVALUATION_NAME", "sync_training", "train_and_evaluate"]

#: Folder of the final evaluation, in that of the training.
EVALUATION_NAME = "evaluation"
#: The exported bundle.
BUNDLE_NAME = "bundle.zip"

_logger = logging.getLogger(__name__)


def train_and_evaluate(options: TrainOptions) -> TrainResult:
    """Train; if the training is tracked and done, evaluate and export its best epoch into the same run.

    The test part is evaluated, or the validation part where there is none; of several processes, the first does it. A
    server that cannot be reached is reported; the run is kept in the training's folder.

    Raises:
        MoseError: if training, evaluation or export fails.
    """
    calm_mlflow()
    result = train(options)
    _track(options, result)
    if Process.from_environment().is_first:
        _log_result(result, options)
    return result


def _log_result(result: TrainResult, options: TrainOptions) -> None:
    stopped = "" if result.epochs >= result.max_epochs else f" (time limit reached: {how_to_resume(options.overwrite)})"
    _logger.info("%d of %d epochs%s", result.epochs, result.max_epochs, stopped)
    _logger.info("best GED %.4f, of epoch %d: %s", result.best_ged, result.best_epoch, result.best_checkpoint)


def _track(options: TrainOptions, result: TrainResult) -> None:
    """Evaluate and export the best epoch into the run, if the training is tracked and done."""
    tracked = options.tracking and Process.from_environment().is_first
    run = TrainingRun.find(options.output_dir) if tracked else None
    if run is None or result.epochs < result.max_epochs:
        return
    part = "test" if load_datalist(options.datalist).parts["test"] else "validation"
    folder = options.output_dir / EVALUATION_NAME
    shared: dict[str, Any] = {"device": options.device, "threads": options.threads, "quiet": options.quiet}
    evaluate(
        EvaluateOptions(
            options.datalist, result.best_checkpoint, folder, part=part, seed=options.seed, replace_other=True, **shared
        )
    )
    bundle = ExportBundleOptions(result.best_checkpoint, options.output_dir / BUNDLE_NAME, folder, overwrite=True)
    _finish_or_warn(run, export_bundle(bundle))
    if options.tracking_uri is not None:
        _sync_or_warn(options.output_dir, options.tracking_uri)


def sync_training(folder: Path, tracking_uri: str) -> str:
    """Bring the copy of a training's run up to date, and return the id of the copy.

    Raises:
        ConfigError: if the folder has no tracked training.
        DataError: if the store cannot be reached.
    """
    run = TrainingRun.find(folder)
    if run is None:
        raise ConfigError(f"{folder} has no tracked training: name the output folder of mose-med train")
    target = store_uri(tracking_uri)
    return upload(run, str(target))


def _finish_or_warn(run: TrainingRun, bundle: Path) -> None:
    try:
        run.add_artifact(bundle, "bundle")
        run.finish()
    except DataError as error:
        _logger.warning("the training is done but its MLflow run is incomplete: run the same command again (%s)", error)


def _sync_or_warn(folder: Path, tracking_uri: str) -> None:
    try:
        sync_training(folder, tracking_uri)
    except DataError as error:
        _logger.warning("%s; the run is kept: upload it later with `mose-med models sync %s`", error, folder)
