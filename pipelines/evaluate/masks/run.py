"""``mose-med evaluate --predictions DIR --references DIR``: the same metrics for anybody's samples, without a model."""

from __future__ import annotations

import contextlib
import logging
import statistics
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from rich.progress import track
from torch import Tensor

from mose_med.errors import ConfigError, DataError, MoseError, ShapeError
from mose_med.files.csv_files import write_csv
from mose_med.files.hashes import file_sha256
from mose_med.files.run_lock import only_run
from mose_med.files.whole_files import write_json
from mose_med.metrics import (
    CalibrationError,
    class_shares,
    generalized_energy_distance,
    matched_dice,
    matched_iou,
    maximum_dice,
    patient_bootstrap,
    sample_diversity,
)
from mose_med.report.reliability import write_reliability
from pipelines.common.command_line.console import stderr
from pipelines.common.runs.run_folder import COMMAND, OPTIONS_NAME, claim_folder, require_replaceable
from pipelines.evaluate.files import OWN_FILES
from pipelines.evaluate.masks.files import (
    MaskSet,
    case_places,
    mask_fingerprint,
    read_mask_set,
    read_weights,
    warn_of_unread,
)
from pipelines.evaluate.masks.scored import SCORED_NAME, ScoredCase, ScoredCases
from pipelines.evaluate.options import EvaluateMasksOptions

__all__ = ["EvaluateMasksOptions", "MaskEvaluation", "evaluate_masks"]

_logger = logging.getLogger(__name__)
_TABLES = ("per_case.csv", "metrics.json", "reliability.png")
_METRICS = {
    "ged": generalized_energy_distance,
    "matched_iou": matched_iou,
    "matched_dice": matched_dice,
    "maximum_dice": maximum_dice,
}


@dataclass(frozen=True)
class MaskEvaluation:
    """Scores of every case.

    Attributes:
        cases: by case, its scores by metric.
        calibration: of the mean of the predictions against the mean of the references, all voxels of all cases.
    """

    cases: dict[str, dict[str, float]]
    calibration: CalibrationError

    def mean(self, metric: str) -> float:
        """Mean over the cases that have the metric; nan if none has."""
        values = [scores[metric] for scores in self.cases.values() if scores[metric] == scores[metric]]
        return statistics.fmean(values) if values else float("nan")


#: Weights by case; None for equal ones.
_Weights = dict[str, list[float]] | None
#: Those of the predictions and of the references.
_WeightsOfBoth = tuple[_Weights, _Weights]
#: By case, where its predictions and its references lie.
_Places = dict[str, tuple[Path, Path]]


class _Pair(NamedTuple):
    masks: Tensor
    references: Tensor
    weights: Tensor | None
    rater_weights: Tensor | None


@only_run()
def evaluate_masks(options: EvaluateMasksOptions) -> MaskEvaluation:
    """Score predicted against reference masks; writes ``per_case.csv``, ``metrics.json`` and ``reliability.png``.

    The folder is claimed before anything is scored. Run again with the same options, cases whose files are as they
    were are not scored again. Earlier scores that may be overwritten stay until the new ones are there.

    Raises:
        ConfigError: if folders, their cases or the weights do not fit each other, or the output folder is taken.
        DataError: if a case's masks cannot be compared.
    """
    if options.threads is not None:
        torch.set_num_threads(options.threads)
    cases = _common_cases(options)
    weights = _weights(options.prediction_weights), _weights(options.reference_weights)
    scored = (_scored_anew if options.overwrite else _scored_on)(options, cases, weights)
    evaluation = MaskEvaluation({case.case: case.scores for case in scored}, _pooled(options.classes, scored))
    _write(evaluation, options)
    _logger.info("%d cases: %s", len(scored), ", ".join(f"{name} {evaluation.mean(name):.4f}" for name in _METRICS))
    _logger.info("scores are in %s", options.output_dir)
    return evaluation


def _scored_anew(options: EvaluateMasksOptions, cases: _Places, weights: _WeightsOfBoth) -> list[ScoredCase]:
    """Scores of all cases, in a folder that is emptied once they are known."""
    record, own = _record(options), OWN_FILES
    require_replaceable(options.output_dir, record, own)
    scored: list[ScoredCase] = []
    _score_all(options, cases, weights, ScoredCases(None), scored)
    claim_folder(options.output_dir, record, overwrite=True, own=own)
    kept = ScoredCases(options.output_dir)
    for case in scored:
        kept.add(case)
    return scored


def _scored_on(options: EvaluateMasksOptions, cases: _Places, weights: _WeightsOfBoth) -> list[ScoredCase]:
    """Scores of all cases; those that are in the folder are not computed again."""
    resumed = claim_folder(options.output_dir, _record(options), own=OWN_FILES)
    known = ScoredCases(options.output_dir)
    if known.fingerprints != {case: _fingerprint(places) for case, places in cases.items()}:
        for name in _TABLES:  # of other files
            (options.output_dir / name).unlink(missing_ok=True)
    scored: list[ScoredCase] = []
    try:
        _score_all(options, cases, weights, known, scored)
    except MoseError as error:
        if not resumed and (not scored or isinstance(error, ConfigError)):
            _withdraw(options.output_dir)
        raise
    return scored


def _score_all(
    options: EvaluateMasksOptions,
    cases: _Places,
    weights: _WeightsOfBoth,
    known: ScoredCases,
    scored: list[ScoredCase],
) -> None:
    """Add the scores of all cases, one by one."""
    for case in track(cases, "evaluate", console=stderr, disable=options.quiet, transient=True):
        scored.append(_scored(case, cases[case], options.classes, weights, known))
    _check_classes(options.classes, {label for case in scored for label in case.labels})


def _record(options: EvaluateMasksOptions) -> dict[str, Any]:
    """What decides the result, the masks themselves apart."""
    folders = {name: str(getattr(options, name).resolve()) for name in ("predictions", "references")}
    files = {name: getattr(options, name) for name in ("prediction_weights", "reference_weights")}
    hashes = {f"{name}_sha256": None if file is None else file_sha256(file) for name, file in files.items()}
    return folders | hashes | {COMMAND: "evaluate", "classes": options.classes}


def _withdraw(folder: Path) -> None:
    """Withdraw a claim under which nothing was done."""
    for name in (SCORED_NAME, OPTIONS_NAME):
        (folder / name).unlink(missing_ok=True)
    with contextlib.suppress(OSError):
        folder.rmdir()


def _scored(
    case: str,
    places: tuple[Path, Path],
    classes: tuple[int, ...],
    weights: _WeightsOfBoth,
    known: ScoredCases,
) -> ScoredCase:
    """Scores of a case, computed unless they are known."""
    fingerprint = _fingerprint(places)
    found = known.find(case, fingerprint)
    if found is not None:
        return found
    # 255 is a class of its own where it may be one that counts.
    foreground_255 = classes == (1,)
    predicted, references = (read_mask_set(place, case, foreground_255=foreground_255) for place in places)
    _check_grids(case, predicted, references)
    pair = _Pair(predicted.masks, references.masks, *(_row(by_case, case) for by_case in weights))
    scores, calibration = _score(case, pair, classes), _calibration(classes)
    calibration.update(
        class_shares(pair.masks, pair.weights, classes),
        class_shares(pair.references, pair.rater_weights, classes),
    )
    labels = sorted({int(label) for masks in pair[:2] for label in np.unique(masks.numpy())})
    scores["ece_percent"] = calibration.compute()
    scored = ScoredCase(case, fingerprint, scores, calibration.totals.tolist(), labels)
    known.add(scored)
    return scored


def _fingerprint(places: tuple[Path, Path]) -> str:
    return " ".join(mask_fingerprint(place) for place in places)


def _pooled(classes: tuple[int, ...], scored: list[ScoredCase]) -> CalibrationError:
    calibration = _calibration(classes)
    for case in scored:
        calibration.add_totals(torch.tensor(case.calibration_totals, dtype=torch.float64))
    return calibration


def _check_classes(classes: tuple[int, ...], held: set[int]) -> None:
    """Refuse a class that no mask of any case has, unless there is nothing but background; name what does not count."""
    strange = sorted(set(classes) - held)
    if strange and held != {0}:
        known = ", ".join(str(label) for label in sorted(held))
        raise ConfigError(f"class {strange[0]} is in none of the masks, which hold {known}: name one of these")
    others = ", ".join(str(label) for label in sorted(held - {0, *classes}))
    if others:
        counted = " ".join(str(label) for label in classes)
        _logger.warning(
            "masks hold %s, which --class-values %s does not count: name them there, or give them the value of a class "
            "that counts",
            others,
            counted,
        )


def _common_cases(options: EvaluateMasksOptions) -> _Places:
    """Where the masks of every case lie, predictions first."""
    folders = (options.predictions, options.references)
    cases, references = (case_places(folder) for folder in folders)
    for folder, places in zip(folders, (cases, references), strict=True):
        warn_of_unread(folder, places)
    for missing, whose in ((cases.keys() - references, "references"), (references.keys() - cases, "predictions")):
        if missing:
            raise ConfigError(f"case {min(missing)} is not among the {whose}: both folders need the same cases")
    return {case: (place, references[case]) for case, place in cases.items()}


def _weights(path: Path | None) -> _Weights:
    return None if path is None else read_weights(path)


def _row(by_case: _Weights, case: str) -> Tensor | None:
    if by_case is None:
        return None
    if case not in by_case:
        raise ConfigError(f"weights of case {case} are missing")
    return torch.tensor([by_case[case]], dtype=torch.float64)


def _check_grids(case: str, predicted: MaskSet, references: MaskSet) -> None:
    difference = predicted.grid_difference(references, whose="the references'")
    if difference is not None:
        raise DataError(f"case {case}: the predictions must lie on the grid of the references: {difference}")


def _score(case: str, pair: _Pair, classes: tuple[int, ...]) -> dict[str, float]:
    try:
        scores = {name: f(*pair, classes).item() for name, f in _METRICS.items()}
        return scores | {
            "diversity": sample_diversity(pair.masks, pair.weights, classes).item(),
            "rater_diversity": sample_diversity(pair.references, pair.rater_weights, classes).item(),
        }
    except ShapeError as error:
        raise DataError(f"case {case}: {error}") from error


def _calibration(classes: tuple[int, ...]) -> CalibrationError:
    return CalibrationError(mode="foreground" if len(classes) == 1 else "confidence")


def _write(evaluation: MaskEvaluation, options: EvaluateMasksOptions) -> None:
    names, pooled = list(next(iter(evaluation.cases.values()))), evaluation.calibration
    rows = ([case, *(f"{scores[name]:.6f}" for name in names)] for case, scores in evaluation.cases.items())
    write_csv(options.output_dir / "per_case.csv", ["case", *names], rows)
    write_reliability(options.output_dir / "reliability.png", {"mean of the predictions": pooled.reliability()})
    pooled_errors = {f"{name}_percent": value for name, value in pooled.summary()._asdict().items()}
    metrics = {name: _summary(evaluation, name) for name in names}
    write_json(options.output_dir / "metrics.json", metrics | {"pooled_calibration": pooled_errors})


def _summary(evaluation: MaskEvaluation, metric: str) -> dict[str, float | int | None]:
    values = [scores[metric] for scores in evaluation.cases.values()]
    counted = sum(value == value for value in values)
    if not counted:
        return {"mean": None, "low": None, "high": None, "cases": 0}
    interval = patient_bootstrap(values, list(evaluation.cases))
    return {"mean": evaluation.mean(metric), "low": interval.low, "high": interval.high, "cases": counted}
