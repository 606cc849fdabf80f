"""An evaluation in the MLflow run of the training that made the weights."""

from __future__ import annotations

import logging
import re
from collections.abc import Sequence
from pathlib import Path

from mose_med.errors import DataError, MissingDependencyError
from mose_med.files.hashes import file_sha256
from mose_med.handlers import BEST_NAME, TrainingRun
from pipelines.evaluate.files import Evaluation

__all__ = ["record_evaluation"]

_logger = logging.getLogger(__name__)
_SCORES = ("ged", "matched_iou", "ece_percent", "diversity", "consensus_dice", "entropy")


def record_evaluation(checkpoint: Path, datalist: Path, scores: Evaluation, files: Sequence[Path]) -> None:
    """Add an evaluation to the run of the training whose best checkpoint it is of, if that training was tracked.

    What is there already is not added again. A store that cannot be used is warned of: the scores are written all the
    same.

    Args:
        checkpoint: what was evaluated; it lies in the folder of its training.
        datalist: of the evaluated slices. Scores of other data than the training's have the data's name before them.
        scores: the result.
        files: tables and figures to keep; none that lists patients.
    """
    try:
        run = TrainingRun.find(checkpoint.parent) if checkpoint.name == BEST_NAME else None
        if run is not None:
            _record(run, datalist, scores, files)
    except (DataError, MissingDependencyError) as error:
        _logger.warning(
            "the scores are written, but not added to the MLflow run of their training: run the same command again to "
            "add them (%s)",
            error,
        )


def _record(run: TrainingRun, datalist: Path, scores: Evaluation, files: Sequence[Path]) -> None:
    held = run.snapshot()
    own = held.run.data.params.get("dataset_sha256") == file_sha256(datalist)
    place = scores.part if own else f"{re.sub(r'[^A-Za-z0-9_.-]+', '_', scores.datalist)}/{scores.part}"
    values = {
        f"{place}/{row.method.replace(',', '')} {row.num_samples}/{name}": getattr(
            row, name
        ).mean  # MLflow's characters
        for row in scores.rows
        for name in _SCORES
    }
    known = held.run.data.metrics
    run.log_metrics({name: value for name, value in values.items() if known.get(name) != value})
    for file in files:
        if f"evaluation/{place}/{file.name}" not in held.artifacts or values.items() - known.items():
            run.add_artifact(file, f"evaluation/{place}")
