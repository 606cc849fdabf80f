"""A case of several raters, as a source names it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

__all__ = ["RaterCase"]


@dataclass(frozen=True)
class RaterCase:
    """What belongs to one case; whether it can be used is not known before it is read.

    Attributes:
        images: one, if all is well.
        masks: of every rater, by name; several of one rater, if all is not well.
    """

    case: str
    patient: str
    images: tuple[Path, ...]
    masks: Mapping[str, tuple[Path, ...]]
