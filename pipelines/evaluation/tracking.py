"""An evaluation in the MLflow run of the training that made the weights."""

from __future__ import annotations

import logging
import re
from collections.abc import Sequence
from pathlib import Path

from mose_med.errors import DataError, MissingDependencyError
from mose_med.handlers import BEST_NAME, TrainingRun
from pipelines.evaluation.files import Evaluation
from pipelines.provenance import file_sha256

__all__ = ["record_evaluation"]

_logger = logging.getLogger(__name__)
_SCORES = ("ged", "matched_iou", "ece_percent", "diversity")


def record_evaluation(checkpoint: Path, datalist: Path, scores: Evaluation, files: Sequence[Path]) -> None:
    """Add an evaluation to the run of the training whose best checkpoint it is of, if that training was tracked.

    Args:
        checkpoint: what was evaluated; it lies in the folder of its training.
        datalist: of the evaluated slices. Scores of other data than the training's have the data's name before them.
        scores: the result.
        files: tables and figures to keep; none that lists patients.
    """
    try:
        run = TrainingRun.find(checkpoint.parent) if checkpoint.name == BEST_NAME else None
    except (DataError, MissingDependencyError) as error:
        _logger.warning("the evaluation is not added to the run of its training: %s", error)
        return
    if run is None:
        return
    own = run.snapshot().run.data.params.get("dataset_sha256") == file_sha256(datalist)
    place = scores.part if own else f"{re.sub(r'[^A-Za-z0-9_.-]+', '_', scores.datalist)}/{scores.part}"
    for row in scores.rows:
        values = {f"{place}/{row.method} {row.num_samples}/{name}": getattr(row, name).mean for name in _SCORES}
        run.log_metrics(values)
    for file in files:
        run.add_artifact(file, f"evaluation/{place}")
