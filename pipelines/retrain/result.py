"""The result of a retraining, and what of it becomes tags and metrics of the registered version."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from pipelines.models.comparison import (
    Comparison,
)
from pipelines.models.promotion import Outcome
from pipelines.models.registry import ModelVersion

__all__ = ["RetrainResult", "decision_tags", "result_of", "score_changes", "version_name"]


@dataclass(frozen=True)
class RetrainResult:
    """Result of a retraining.

    Attributes:
        version: number of the challenger.
        champion: number of the version it was compared with.
        promoted: whether the alias was moved to the challenger.
        reason: why, or why not.
        overtaken_by: version that another promotion put in its place at the same moment.
        comparison: of the two on the held-out patients.
        forgetting: of the two on the test part of the old data, if there is one.
    """

    version: int
    champion: int
    promoted: bool
    reason: str
    overtaken_by: int | None
    comparison: dict[str, Any]
    forgetting: dict[str, Any] | None


def result_of(challenger: ModelVersion, outcome: Outcome, forgetting: Comparison | None) -> RetrainResult:
    """The result of a comparison and a promotion."""
    return RetrainResult(
        version=challenger.number,
        champion=outcome.champion.number,
        promoted=outcome.decision.promote and outcome.overtaken_by is None,
        reason=outcome.decision.reason,
        overtaken_by=outcome.overtaken_by,
        comparison=outcome.comparison.to_dict(),
        forgetting=None if forgetting is None else forgetting.to_dict(),
    )


def decision_tags(outcome: Outcome, forgetting: Comparison | None) -> dict[str, str]:
    """Tags of the version."""
    tags = {
        "compared_with": str(outcome.champion.number),
        "decision": ("promoted" if outcome.decision.promote else "not promoted") + f": {outcome.decision.reason}",
        "comparison": json.dumps(outcome.comparison.to_dict()),
    }
    if forgetting is not None:
        tags["forgetting"] = json.dumps(forgetting.to_dict())
    if outcome.overtaken_by is not None:
        tags["overtaken_by"] = str(outcome.overtaken_by)
    return tags


def score_changes(kind: str, comparison: Comparison) -> dict[str, float]:
    """Metrics of the run: how much each score changed."""
    names: Sequence[str] = ("ged", "matched_iou", "ece_percent")
    return {f"{kind}/{name}_change": getattr(comparison, name).change for name in names}


def version_name(version: ModelVersion) -> str:
    """Name of a version in messages and tables."""
    return f"version {version.number}"
