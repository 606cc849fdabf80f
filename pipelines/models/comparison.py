"""Two models on the same slices: differences of GED, M-IoU and ECE with intervals over patients.

Both models draw from the same seeds, and every bootstrap draw takes the same patients for both, so that what the
slices have in common cancels out.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from rich.progress import Progress
from torch.utils.data import DataLoader

from mose_med.checkpoint import ModelConfig, read_checkpoint
from mose_med.data import Datalist
from mose_med.metrics import Interval, generalized_energy_distance, matched_iou, patient_bootstrap
from mose_med.metrics.bootstrap import paired_bootstrap
from mose_med.metrics.calibration import expected_errors
from mose_med.samples import RaterMasks
from mose_med.weights.files import weights_file
from pipelines.common.command_line.console import stderr
from pipelines.common.memory import named_memory_errors
from pipelines.evaluate.baselines import rater_probs
from pipelines.evaluate.prediction import BatchPrediction, scored_network
from pipelines.evaluate.scored_data import CountedClasses, require_as_trained, scored_dataset, warn_of_training_data

__all__ = ["Comparison", "Difference", "Scoring", "SliceScores", "compare", "read_model_config", "score_model"]


class Difference(NamedTuple):
    """One score of two models.

    Attributes:
        champion: of the first.
        challenger: of the second.
        change: challenger less champion.
        interval: 95 % confidence interval of the change.
    """

    champion: float
    challenger: float
    change: float
    interval: Interval


@dataclass(frozen=True)
class Comparison:
    """Two models on the same slices.

    Attributes:
        data: which slices, in words.
        images: how many.
        patients: of how many patients.
        ged: squared generalized energy distance; lower is better.
        matched_iou: higher is better.
        ece_percent: expected calibration error of the marginal; lower is better.
    """

    data: str
    images: int
    patients: int
    ged: Difference
    matched_iou: Difference
    ece_percent: Difference

    def to_dict(self) -> dict[str, Any]:
        """Plain types only."""
        content = asdict(self)
        for name in ("ged", "matched_iou", "ece_percent"):
            difference: Difference = getattr(self, name)
            content[name] = difference._asdict() | {"interval": list(difference.interval)}
        return content


@dataclass(frozen=True)
class Scoring:
    """How models are scored.

    Attributes:
        num_samples: samples a slice, as many of each expert as fit.
        seed: of the samples.
        device: where.
        batch_size: slices at once; no score depends on it.
        quiet: draw no progress bar.
    """

    num_samples: int = 16
    seed: int = 0
    device: str = "cpu"
    batch_size: int = 16
    quiet: bool = False


class SliceScores(NamedTuple):
    """Scores of every slice, (N,), and the sums that a calibration error of any of them follows from, (N, T)."""

    ged: np.ndarray
    matched_iou: np.ndarray
    calibration: np.ndarray


def read_model_config(weights: Path) -> ModelConfig:
    """What the weights of a checkpoint or bundle mean.

    Raises:
        ConfigError: if there are none.
        DataError: if they are damaged.
    """
    with weights_file(weights) as path:
        return read_checkpoint(path).config


@torch.inference_mode()
def score_model(weights: Path, name: str, datalist: Datalist, part: str, scoring: Scoring) -> SliceScores:
    """Score a checkpoint or bundle on a part of a datalist, in compact form.

    Args:
        weights: of the model.
        name: what messages call it.
        datalist: of the slices.
        part: of the datalist.
        scoring: samples, seed, device.

    Raises:
        ConfigError: if the data have other raters or classes than the model.
        DataError: if weights or slices cannot be read.
        MoseError: if memory runs out.
    """
    with weights_file(weights) as path:
        checkpoint = read_checkpoint(path, scoring.device)
    config = checkpoint.config
    require_as_trained(datalist, config, name)
    network = scored_network(checkpoint, name, torch.device(scoring.device))
    slices, counted = scored_dataset(datalist, part, checkpoint.config), CountedClasses.of(datalist)
    warn_of_training_data(checkpoint, slices.data, name)
    found: list[SliceScores] = []
    with Progress(console=stderr, disable=scoring.quiet, transient=True) as progress:
        task = progress.add_task(f"score {name}", total=len(slices))
        for number, batch in enumerate(DataLoader(slices, batch_size=scoring.batch_size)):
            raters = RaterMasks(batch["label"].to(scoring.device), batch["rater_weights"].to(scoring.device))
            with named_memory_errors(f"while {name} was scored", "ask for fewer samples, or for --device cpu"):
                prediction = BatchPrediction(network, batch["image"].to(scoring.device), number * scoring.batch_size)
                found.append(_score_batch(prediction, raters, len(datalist.classes), counted, scoring))
            progress.advance(task, len(raters.masks))
    return SliceScores(*(np.concatenate(columns) for columns in zip(*found, strict=True)))


def compare(champion: SliceScores, challenger: SliceScores, patients: list[str], data: str) -> Comparison:
    """Differences of two models on the same slices.

    Args:
        champion: scores of the first.
        challenger: scores of the second, in the same order.
        patients: whose slice it is.
        data: which slices, in words.
    """
    return Comparison(
        data=data,
        images=len(patients),
        patients=len(set(patients)),
        ged=_of_means(champion.ged, challenger.ged, patients),
        matched_iou=_of_means(champion.matched_iou, challenger.matched_iou, patients),
        ece_percent=_of_calibration(champion.calibration, challenger.calibration, patients),
    )


def _score_batch(
    prediction: BatchPrediction, raters: RaterMasks, classes: int, counted: CountedClasses, scoring: Scoring
) -> SliceScores:
    samples = prediction.compact(scoring.num_samples, scoring.seed)
    pair = (samples.masks, raters.masks, samples.weights, raters.weights, counted.regions)
    totals = []
    for probs, shares in zip(samples.probs, rater_probs(raters, classes), strict=True):
        error = counted.calibration()
        error.update(probs[None], shares[None])
        totals.append(error.totals.cpu().numpy())
    ged, matched = generalized_energy_distance(*pair), matched_iou(*pair)
    return SliceScores(ged.double().cpu().numpy(), matched.double().cpu().numpy(), np.stack(totals))


def _of_means(first: np.ndarray, second: np.ndarray, patients: list[str]) -> Difference:
    change = second - first
    kept = ~np.isnan(change)
    interval = patient_bootstrap(change.tolist(), patients)
    return Difference(float(first[kept].mean()), float(second[kept].mean()), float(change[kept].mean()), interval)


def _of_calibration(first: np.ndarray, second: np.ndarray, patients: list[str]) -> Difference:
    before, after = (float(_ece(totals.sum(axis=0, keepdims=True))[0]) for totals in (first, second))
    return Difference(before, after, after - before, paired_bootstrap(first, second, patients, _ece))


def _ece(totals: np.ndarray) -> np.ndarray:
    errors: np.ndarray = expected_errors(torch.from_numpy(totals)).numpy()
    return errors
