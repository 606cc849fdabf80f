"""What counts as a lesion, where one is searched, and the file that lists them: light to import, without PyTorch."""

from __future__ import annotations

from dataclasses import dataclass

from mose_med.errors import ConfigError

__all__ = [
    "DEPTH_MM",
    "LESIONS_NAME",
    "LESION_THRESHOLD",
    "MIN_LESION_ML",
    "MIN_SCORE",
    "OVERLAP_FULL",
    "OVERLAP_LUNGS",
    "REACH_MM",
    "LesionRules",
    "require_overlap",
]

#: File of a case that lists its lesions.
LESIONS_NAME = "lesions.json"
#: Share of a window that its neighbour holds as well where the lungs are searched, unless a call says otherwise.
OVERLAP_LUNGS = 0.75
#: The same where everything is looked at.
OVERLAP_FULL = 0.25
#: How far above and below a listed position the network looks, unless a call says otherwise.
DEPTH_MM = 20.0
#: How far from the listed position a lesion may begin, unless a call says otherwise.
REACH_MM = 5.0
#: Marginal probability above which voxels are of a lesion, unless a call says otherwise.
LESION_THRESHOLD = 0.5
#: Smallest lesion that a search reports, unless a call says otherwise: about a ball of 3 mm.
MIN_LESION_ML = 0.014
#: Least score of a listed box that is taken. MONAI's bundle writes all boxes from 0.02, most of them false.
MIN_SCORE = 0.5


@dataclass(frozen=True)
class LesionRules:
    """What counts as a lesion.

    Attributes:
        threshold: marginal probability above which voxels are of a lesion.
        reach_mm: how far from a listed position its lesion may begin.
        min_ml: smallest lesion of a search.

    Raises:
        ConfigError: if a value does not fit.
    """

    threshold: float = LESION_THRESHOLD
    reach_mm: float = REACH_MM
    min_ml: float = MIN_LESION_ML

    def __post_init__(self) -> None:
        if not 0 < self.threshold < 1:
            raise ConfigError(f"lesion_threshold must be > 0 and < 1, got {self.threshold}")
        for name, value in (("reach_mm", self.reach_mm), ("min_lesion_ml", self.min_ml)):
            if not value >= 0:
                raise ConfigError(f"{name} must be >= 0, got {value}")


def require_overlap(overlap: float | None) -> None:
    """Check the share of a window that its neighbour holds as well, if one is given.

    Raises:
        ConfigError: if it is not in [0, 1).
    """
    if overlap is not None and not 0 <= overlap < 1:
        raise ConfigError(f"overlap must be >= 0 and < 1, got {overlap}")
