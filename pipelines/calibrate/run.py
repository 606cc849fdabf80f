"""``mose-med calibrate``: temperatures of gating and logits, fitted on a part that was not trained on."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from rich.progress import Progress
from torch import Tensor
from torch.utils.data import DataLoader

from mose_med.case_contents.provenance import tool_versions
from mose_med.checkpoint import Checkpoint, build_network, read_checkpoint, write_checkpoint
from mose_med.data import load_datalist
from mose_med.errors import ConfigError
from mose_med.files.run_lock import alone_in
from mose_med.files.whole_files import write_json
from mose_med.networks.protocol import tempered_modules
from mose_med.networks.temperature import temper
from mose_med.report.reliability import write_reliability
from mose_med.runtime.device import choose_device
from mose_med.weights.files import weights_file
from mose_med.weights.model_files import model_sha256
from pipelines.calibrate.fit import CalibrationFit, Draw
from pipelines.calibrate.folds import patient_folds
from pipelines.calibrate.grid import TEMPERATURES
from pipelines.calibrate.options import CalibrateOptions
from pipelines.calibrate.result import Calibration, Temperatures, plain_reliability
from pipelines.common.command_line.console import stderr
from pipelines.common.memory import named_memory_errors
from pipelines.evaluate.prediction import scored_network
from pipelines.evaluate.scored_data import CountedClasses, require_as_trained, scored_dataset, warn_of_training_data

__all__ = ["CalibrateOptions", "calibrate", "undo_calibration"]

_STAGES = ("before", "after", "cross_fitted")

_logger = logging.getLogger(__name__)


def calibrate(options: CalibrateOptions) -> Calibration:
    """Fit both temperatures and write a checkpoint that holds them.

    An earlier calibration of the checkpoint has no influence: the fit begins at temperature 1.

    Raises:
        ConfigError: if an option is invalid, a file to write exists, the part is empty, or datalist and checkpoint do
            not belong together.
        DataError: if a slice or the checkpoint cannot be read.
        MoseError: if memory runs out.
    """
    with alone_in(options.output_file, beside=True, kind="output file"):
        return _calibrate(options)


def _calibrate(options: CalibrateOptions) -> Calibration:
    _check_output(options.output_file, options.overwrite)
    if options.threads is not None:
        torch.set_num_threads(options.threads)
    checkpoint, sha256 = _read(options.checkpoint)
    with named_memory_errors(f"while {options.batch_size} images were scored at once", "ask for fewer samples"):
        fit, about = _fitted(options, checkpoint)
    scores: dict[str, Any] = {name: fit.scores(name) for name in _STAGES}
    draw: dict[str, Any] = {name: getattr(options, name) for name in Draw._fields}
    found = Calibration(fit.temperatures, fit.by_fold, **scores, **about, **draw, checkpoint_sha256=sha256)
    _write_reports(options.output_file, found, fit)
    calibrated = _tempered(checkpoint, found.temperatures, options.checkpoint)
    write_checkpoint(options.output_file, replace(calibrated, calibration=found.to_dict()))
    _log_scores(found, options.output_file)
    return found


def undo_calibration(checkpoint: Path, output_file: Path, *, overwrite: bool = False) -> None:
    """Write a checkpoint at temperature 1: the weights as they were before any calibration.

    Reports of a calibration whose checkpoint is overwritten are removed.

    Raises:
        ConfigError: if the checkpoint is missing or the file to write, or a report beside it, exists.
        DataError: if the checkpoint cannot be read.
    """
    with alone_in(output_file, beside=True, kind="output file"):
        _check_output(output_file, overwrite)
        found, _ = _read(checkpoint)
        write_checkpoint(output_file, replace(_tempered(found, Temperatures(), checkpoint), calibration=None))
        for report in _reports(output_file):
            report.unlink(missing_ok=True)
    _logger.info("%s is not calibrated", output_file)


def _check_output(path: Path, overwrite: bool) -> None:
    if path.suffix != ".pt":
        raise ConfigError(f"output file must end in .pt, got {path}")
    for file in (path, *_reports(path)):
        if file.is_dir():
            raise ConfigError(f"output file {file} is a folder: name another")
        if file.exists() and not overwrite:
            raise ConfigError(f"{file} exists: name another output file or add --overwrite")


def _reports(output_file: Path) -> tuple[Path, Path]:
    """Where a calibration's numbers and its diagram are written."""
    return output_file.with_suffix(".calibration.json"), output_file.with_suffix(".reliability.png")


def _read(path: Path) -> tuple[Checkpoint, str]:
    with weights_file(path) as file:
        return read_checkpoint(file), model_sha256(file)


@torch.inference_mode()
def _fitted(options: CalibrateOptions, checkpoint: Checkpoint) -> tuple[CalibrationFit, dict[str, Any]]:
    """The fit, and what it was made on."""
    datalist = load_datalist(options.datalist)
    config, name = checkpoint.config, f"checkpoint {options.checkpoint}"
    require_as_trained(datalist, config, name)
    network = scored_network(checkpoint, f"checkpoint {options.checkpoint}", choose_device(options.device))
    for module in tempered_modules(network).values():
        temper(module, 1.0)
    images = scored_dataset(datalist, options.part, checkpoint.config)
    warn_of_training_data(checkpoint, images.data, f"checkpoint {options.checkpoint}")
    patients = [entry.patient_id for entry in images.data]
    folds = patient_folds(patients, options.folds)
    with Progress(console=stderr, disable=options.quiet, transient=True) as progress:
        task = progress.add_task("calibrate", total=2 * len(images))

        def batches() -> Iterator[dict[str, Any]]:
            for batch in DataLoader(images, batch_size=options.batch_size):
                yield batch
                progress.advance(task, len(batch["image"]))

        draw = Draw(options.num_samples, options.seed, options.codes)
        fit = CalibrationFit(network, batches, folds, CountedClasses.of(datalist), draw)
    about = {"datalist": datalist.name, "part": options.part, "images": len(images), "patients": len(set(patients))}
    return fit, about


def _tempered(checkpoint: Checkpoint, temperatures: Temperatures, source: Path) -> Checkpoint:
    """The checkpoint with temperatures in its weights, the averaged ones too."""

    def state(weights: dict[str, Tensor]) -> dict[str, Tensor]:
        network = build_network(replace(checkpoint, model=weights, ema=None), f"checkpoint {source}")
        for name, module in tempered_modules(network).items():
            temper(module, getattr(temperatures, name))
        return dict(network.state_dict())

    ema = None if checkpoint.ema is None else state(checkpoint.ema)
    return replace(checkpoint, model=state(checkpoint.model), ema=ema)


def _write_reports(output_file: Path, found: Calibration, fit: CalibrationFit) -> None:
    output_file.parent.mkdir(parents=True, exist_ok=True)
    numbers, diagram = _reports(output_file)
    tables = {name: fit.reliability(name) for name in _STAGES}
    curves = {name.replace("_", "-"): table for name, table in tables.items()}
    write_reliability(diagram, curves, title=f"{found.datalist}, {found.part}")
    bins = {name: plain_reliability(table) for name, table in tables.items()}
    content = found.to_dict() | {"curves": fit.curves(), "reliability": bins, "versions": tool_versions()}
    write_json(numbers, content)


def _log_scores(found: Calibration, output_file: Path) -> None:
    for name in _STAGES:
        scores = getattr(found, name)
        values = (scores.ged, scores.matched_iou, scores.ece_percent)
        _logger.info("%-12s GED %.4f, M-IoU %.4f, ECE %.3f %%", name.replace("_", "-"), *values)
    _logger.info("%s: temperature of the gating %.2f, of the logits %.2f", output_file, *found.temperatures)
    for name, value in found.temperatures._asdict().items():
        if value in (TEMPERATURES[0], TEMPERATURES[-1]):
            _logger.warning(
                "the temperature of the %s, %g, is at the limit of its range: is the training finished?", name, value
            )
    if not found.helps:
        _logger.warning(
            "cross-fitted ECE is %.3f %%, before %.3f %%: on other patients this calibration is not expected to help; "
            "--undo removes it",
            found.cross_fitted.ece_percent,
            found.before.ece_percent,
        )
