"""A case with several raters, as its source names it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

__all__ = ["RaterCase"]


@dataclass(frozen=True)
class RaterCase:
    """The files of one case; only reading shows whether they can be used.

    Attributes:
        images: one, if all is well.
        masks: of every rater, by name; several of one rater, if all is not well.
        others: beside them, what looks like one of them and is not read.
    """

    case: str
    patient: str
    images: tuple[Path, ...]
    masks: Mapping[str, tuple[Path, ...]]
    others: tuple[Path, ...] = ()
