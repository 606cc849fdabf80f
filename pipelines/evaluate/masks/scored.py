"""Scores of mask sets by case, one line each: a stopped evaluation resumes."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

__all__ = ["SCORED_NAME", "ScoredCase", "ScoredCases"]

#: Lines of JSON in the folder of the evaluation; its tables are made of them.
SCORED_NAME = "scored_cases.jsonl"


class ScoredCase(NamedTuple):
    """One case.

    Attributes:
        case: its name.
        fingerprint: of the files it was scored from.
        scores: by metric; nan where a case has no voxel that counts.
        calibration_totals: of its calibration error, to be pooled.
        labels: all classes that its masks hold.
    """

    case: str
    fingerprint: str
    scores: dict[str, float]
    calibration_totals: list[float]
    labels: list[int]


class ScoredCases:
    """The scored cases of an evaluation's folder. A line that was cut short by a kill is skipped.

    Args:
        folder: of the evaluation; None keeps nothing.
    """

    def __init__(self, folder: Path | None) -> None:
        self._file = None if folder is None else folder / SCORED_NAME
        self._known = {case.case: case for case in self._lines()}

    @property
    def fingerprints(self) -> dict[str, str]:
        """Of the files that each case was scored from."""
        return {name: case.fingerprint for name, case in self._known.items()}

    def find(self, case: str, fingerprint: str) -> ScoredCase | None:
        """The scores of a case whose files are as they were; None if they are not, or it has not been scored."""
        known = self._known.get(case)
        return known if known is not None and known.fingerprint == fingerprint else None

    def add(self, scored: ScoredCase) -> None:
        """Keep the scores of a case."""
        if self._file is None:
            return
        with self._file.open("a", encoding="utf-8") as stream:
            stream.write("\n" + json.dumps(scored._asdict()))

    def _lines(self) -> Iterator[ScoredCase]:
        if self._file is None or not self._file.is_file():
            return
        for line in self._file.read_text(encoding="utf-8").splitlines():
            try:
                yield ScoredCase(**json.loads(line))
            except (ValueError, TypeError):
                continue
