"""``mose-med train``: run the training of a bundle in its own folder, or resume it."""

from __future__ import annotations

import logging
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeVar

import torch
from monai.bundle import ConfigParser, ConfigWorkflow

from mose_med.checkpoint import read_checkpoint
from mose_med.data import Datalist, load_datalist
from mose_med.errors import ConfigError, MissingDependencyError, MoseError
from mose_med.files.hashes import file_sha256
from mose_med.files.run_lock import alone_in
from mose_med.handlers import BEST_NAME, LAST_NAME, PREVIOUS_NAME, TrainingProgress
from mose_med.handlers.tracking.store_uri import store_uri
from mose_med.handlers.tracking.training_run import require_mlflow
from mose_med.runtime.device import choose_device
from mose_med.weights.files import weights_file
from mose_med.weights.model_files import model_sha256
from pipelines.common.command_line.console import stderr
from pipelines.common.memory import causes_of, lost_process, ran_out_of_memory
from pipelines.common.runs.content import Content, claim_with_content
from pipelines.common.runs.run_folder import COMMAND
from pipelines.train.config import bundle_configs, compose, config_files, setting_names
from pipelines.train.effect import without_effect
from pipelines.train.extension import allow_more_epochs
from pipelines.train.initial_weights import load_initial_weights
from pipelines.train.options import TrainOptions
from pipelines.train.precision import set_precision
from pipelines.train.settings import data_settings, setting, typed_settings, with_settings
from pipelines.train.torchrun import Process
from pipelines.train.trial_step import try_step

__all__ = ["CONFIG_NAME", "OWN_FILES", "TrainOptions", "TrainResult", "train"]

#: The merged configuration of the training, in its folder.
CONFIG_NAME = "train.yaml"
#: All files of a training, also if it is tracked and evaluated.
OWN_FILES = (
    CONFIG_NAME,
    BEST_NAME,
    LAST_NAME,
    PREVIOUS_NAME,
    "bad_step_*.pt",
    "mlflow.db*",
    "mlflow_run.json",
    "packages.txt",
    "mlruns/*",
    "evaluation/*",
    "bundle.zip",
)

_TRACKING_URI = "tracking_uri"
#: What is built before the folder is claimed: all that may refuse a setting, and writes nothing.
_PARTS = (
    "network_def",
    "loss",
    "lr_scheduler",
    "batch_norm",
    "annealing_handler",
    "gradient_clipping",
    "ema",
    "time_limit",
    "train::prepare_batch",
    "validate::evaluator",
)
_T = TypeVar("_T")
_logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class TrainResult:
    """Result of a training.

    Attributes:
        best_checkpoint: weights of the epoch with the lowest validation GED.
        best_ged: that GED.
        best_epoch: that epoch, counted from 1.
        epochs: how many were done in all.
        max_epochs: how many were requested; more than ``epochs`` if the time was up.
        output_dir: folder of the training.
    """

    best_checkpoint: Path
    best_ged: float
    best_epoch: int
    epochs: int
    max_epochs: int
    output_dir: Path


def train(options: TrainOptions) -> TrainResult:
    """Train, or resume a training with the same options.

    Raises:
        ConfigError: if an option, the configuration, the datalist or an earlier checkpoint does not fit.
        DataError: if a slice cannot be read, or a checkpoint not be written or read.
        MissingDependencyError: if ``tracking_uri`` names a store and MLflow is not installed.
        MoseError: if the loss becomes NaN or infinite, or memory runs out.
    """
    if options.threads is not None:
        torch.set_num_threads(options.threads)
    process = Process.from_environment()
    options = _trackable(options, process)
    paths = config_files(
        options.bundle,
        options.configs,
        tracking=options.tracking and process.is_first,
        several_processes=process.count > 1,
    )
    datalist = load_datalist(options.datalist)
    for part in ("training", "validation"):
        datalist.part(part)
    values = _values(options) | _settings(options, paths, datalist)
    config = with_settings(compose(paths, {}), values)
    spacing_mm = setting(config, "preprocessing::spacing_mm")
    datalist.require(num_raters=config["num_raters"], classes=config["classes"], spacing_mm=spacing_mm)
    if config["val_interval"] > config["max_epochs"]:
        raise ConfigError(
            f"val_interval must be <= max_epochs = {config['max_epochs']}, got {config['val_interval']}: "
            "without a validation there is no best checkpoint; --set val_interval=1 validates after every epoch"
        )
    batch_size = config["batch_size"]
    workflow = _named_errors(lambda: _workflow(paths, values), batch_size, building=True)
    if process.is_first:
        _warn_of_settings(workflow, options, paths)
    start = options.initial_weights
    if start is not None:
        _named_errors(lambda: load_initial_weights(workflow.parser, start), batch_size, building=True)
    _named_errors(lambda: _try_parts(workflow, alone=process.count == 1), batch_size, building=True)
    if options.precision is not None:
        config["amp"] = set_precision(workflow.parser, options.precision)
    with ExitStack() as folder:
        finished = process.run_in_first(lambda: _claimed(options, config, datalist, process.count, folder))
        if finished is None:
            finished = _named_errors(lambda: _run(workflow, options, config["max_epochs"], process), batch_size)
        workflow.finalize()
    return finished


def _trackable(options: TrainOptions, process: Process) -> TrainOptions:
    """The options; without tracking where MLflow is missing and no store was named."""
    if not options.tracking:
        return options
    try:
        require_mlflow()
    except MissingDependencyError as error:
        if options.tracking_uri is not None:
            raise
        if process.is_first:
            _logger.warning("training without tracking: %s", error)
        return replace(options, tracking=False)
    return options


def _claimed(
    options: TrainOptions, config: dict[str, Any], datalist: Datalist, processes: int, folder: ExitStack
) -> TrainResult | None:
    """Result of an earlier training with these options, if it is done; else the folder is ready for this one.

    No other run may write there until ``folder`` is left.
    """
    folder.enter_context(alone_in(options.output_dir))
    content = Content.of_datalist(options.output_dir, {"": datalist}, ("training", "validation"))
    record = _record(options, config, processes)
    if not options.overwrite:
        allow_more_epochs(options.output_dir, record, content)
    if claim_with_content(
        options.output_dir,
        record,
        content,
        overwrite=options.overwrite,
        accept_version=options.accept_version,
        own=OWN_FILES,
    ):
        result = _finished(options.output_dir, config["max_epochs"])
        if result is not None:
            _logger.info("%s is done: %d epochs, best GED %.4f", options.output_dir, result.epochs, result.best_ged)
            return result
    config.pop(_TRACKING_URI, None)  # may hold a password
    ConfigParser.export_config_file(config, str(options.output_dir / CONFIG_NAME), fmt="yaml", sort_keys=False)
    return None


def _values(options: TrainOptions) -> dict[str, Any]:
    values: dict[str, Any] = {
        "datalist": str(options.datalist.resolve()),
        "output_dir": str(options.output_dir.resolve()),
        "seed": options.seed,
        "device_name": str(choose_device(options.device)),
    }
    chosen: dict[str, Any] = {"max_epochs": options.max_epochs, "max_minutes": options.max_minutes}
    chosen |= {_TRACKING_URI: store_uri(options.tracking_uri) if options.tracking else None}
    return values | {name: value for name, value in chosen.items() if value is not None}


def _settings(options: TrainOptions, paths: list[Path], datalist: Datalist) -> dict[str, Any]:
    """Settings that were typed, and settings of the data where nothing else decides."""
    config = compose(paths, {})
    typed = typed_settings(options.settings, config)
    return typed | data_settings(datalist, compose(paths[:1], {}), with_settings(config, typed))


def _warn_of_settings(workflow: ConfigWorkflow, options: TrainOptions, paths: list[Path]) -> None:
    """Say which of the settings that were chosen have no effect, beside another network or loss for instance."""
    own = bundle_configs(options.bundle)
    added = [ConfigParser.load_config_file(str(path)) for path in paths if path.parent != own]
    names = [name for content in added for name in setting_names(content)]
    names += [text.partition("=")[0].strip().replace("#", "::") for text in options.settings]
    without = without_effect(workflow.parser, names)
    if without:
        _logger.warning("without effect in this training, where nothing refers to them: %s", ", ".join(without))


def _record(options: TrainOptions, config: dict[str, Any], processes: int) -> dict[str, Any]:
    """Options that decide the weights, for :func:`claim_with_content`."""
    elsewhere = ("datalist", "output_dir", "max_minutes", _TRACKING_URI)
    settings = {f"config {name}": value for name, value in config.items() if name not in elsewhere}
    record: dict[str, Any] = {COMMAND: "train", "bundle": options.bundle, "threads": options.threads}
    record |= settings | {"datalist_sha256": file_sha256(options.datalist)}
    if options.initial_weights is not None:
        with weights_file(options.initial_weights) as weights:
            record["initial_weights_sha256"] = model_sha256(weights)
    if processes > 1:
        record["processes"] = processes
    return record


def _workflow(paths: list[Path], values: dict[str, Any]) -> ConfigWorkflow:
    for name in ("ignite", "monai.bundle.workflows", "mlflow", "alembic"):
        logging.getLogger(name).setLevel(logging.CRITICAL)  # errors reach the user once, as one line
    files = [str(path) for path in paths]
    workflow = ConfigWorkflow(config_file=files, logging_file=False, workflow_type="train", **values)
    workflow.initialize()
    return workflow


def _try_parts(workflow: ConfigWorkflow, *, alone: bool) -> None:
    """Build what can be wrong before anything is written, and try a step."""
    for name in _PARTS:
        workflow.parser.get_parsed_content(name)
    for part in ("train", "validate"):
        workflow.parser.get_parsed_content(f"{part}::dataset")[0]
    if alone:
        try_step(*map(workflow.parser.get_parsed_content, ("network_def", "loss", "annealing", "train::dataset")))


def _run(workflow: ConfigWorkflow, options: TrainOptions, max_epochs: int, process: Process) -> TrainResult:
    trainer = workflow.parser.get_parsed_content("train::trainer")
    progress = None if options.quiet or not process.is_first else TrainingProgress(stderr)
    try:
        if progress is not None:
            progress.attach(trainer)
        workflow.run()
    finally:
        if progress is not None:
            progress.close()
    keeper = workflow.parser.get_parsed_content("checkpoints")
    return TrainResult(
        best_checkpoint=options.output_dir / BEST_NAME,
        best_ged=keeper.best_value,
        best_epoch=keeper.best_epoch,
        epochs=trainer.state.epoch,
        max_epochs=max_epochs,
        output_dir=options.output_dir,
    )


def _finished(folder: Path, max_epochs: int) -> TrainResult | None:
    """Result of a training that has done all its epochs, else None."""
    if not (folder / LAST_NAME).is_file():
        return None
    last = read_checkpoint(folder / LAST_NAME)
    if last.epoch < max_epochs:
        return None
    best, epoch = last.metrics["best_value"], int(last.metrics["best_epoch"])
    return TrainResult(folder / BEST_NAME, best, epoch, last.epoch, max_epochs, folder)


def _named_errors(step: Callable[[], _T], batch_size: int, *, building: bool = False) -> _T:
    """Call ``step``; of the errors that MONAI wraps into its own, raise the one that names what is wrong.

    While the parts are built, an error that is not of this project is one of the configuration, too.
    """
    try:
        return step()
    except MoseError as error:
        raise _without_worker_traceback(error) from None
    except Exception as error:
        causes = causes_of(error)
        for cause in causes:
            if isinstance(cause, MoseError):
                raise _without_worker_traceback(cause) from None
        if ran_out_of_memory(error):
            raise MoseError(
                f"memory ran out in the training with batch_size {batch_size}: set a smaller batch_size or "
                "network::samples_per_expert, or add --config amp; the last checkpoint is intact"
            ) from error
        if lost_process(error):
            raise MoseError(
                "a data loading process was killed, probably because memory ran out: set a smaller "
                "num_workers (0 loads in the training's own process); the last checkpoint is intact"
            ) from error
        if building:
            reason = " ".join(str(causes[-1]).split())
            raise ConfigError(f"the configuration cannot be built: {reason}") from error
        raise


def _without_worker_traceback(error: MoseError) -> MoseError:
    """The error itself; of one that a loading process has sent with its traceback, what it said."""
    lines = str(error).splitlines()
    if len(lines) < 2 or "in DataLoader worker process" not in lines[0]:
        return error
    return type(error)(lines[-1].partition(": ")[2])
