"""The last lines of an inference: its lesions, and where the result is."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mose_med.case_contents.lesion_rules import LESIONS_NAME
from pipelines.infer.case_records import case_lesions
from pipelines.infer.store import FolderStore

__all__ = ["lesion_line", "say_lesions"]

_LOGGER = logging.getLogger(__name__)
#: Lesions that are listed one by one.
_MOST_LINES = 10


def say_lesions(folder: Path, *, searched: bool) -> None:
    """Log the lesions of a finished case, and last its folder, with a warning of what a search finds."""
    lesions = case_lesions(FolderStore(folder.parent), folder.name)
    for lesion in lesions[:_MOST_LINES]:
        _LOGGER.info("%s", lesion_line(lesion))
    if len(lesions) > _MOST_LINES:
        _LOGGER.info("and %d more lesions, see %s", len(lesions) - _MOST_LINES, LESIONS_NAME)
    found = f"{len(lesions)} lesion{'' if len(lesions) == 1 else 's'}"
    if searched:
        found += (
            " of a search, which misses nodules and may mark what is none; list positions with --nodules if you can"
        )
    _LOGGER.info("%s: %s", found, folder)


def lesion_line(lesion: Mapping[str, Any]) -> str:
    """A lesion of ``lesions.json`` in one line.

    Example:
        >>> volume = {"mean": 0.5, "p05": 0.25, "p95": 0.75}
        >>> lesion_line({"lesion": 1, "nodule_id": "a", "volume_ml": volume, "p_empty": 0.1})
        'lesion 1 (a): 0.500 ml (0.250 to 0.750), no lesion with probability 0.10'
    """
    volume, names = lesion["volume_ml"], [lesion[key] for key in ("nodule_id", "class") if lesion.get(key)]
    named = f" ({', '.join(names)})" if names else ""
    spread = f"{volume['mean']:.3f} ml ({volume['p05']:.3f} to {volume['p95']:.3f})"
    return f"lesion {lesion['lesion']}{named}: {spread}, no lesion with probability {lesion['p_empty']:.2f}"
