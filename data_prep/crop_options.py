"""What is cut out of images, as options: light to import."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Annotated, Literal

from mose_med.errors import ConfigError
from mose_med.options import Option, check_options

__all__ = ["MAX_RATERS", "CropOptions", "RoiSize", "SpacingMm"]

#: Readers of LIDC-IDRI.
MAX_RATERS = 4


def _square(side: int) -> tuple[int, int]:
    return side, side


def _spacing_mm(text: str) -> float | None:
    if text == "native":
        return None
    try:
        length = float(text)
    except ValueError:
        length = math.nan
    if not 0 < length < math.inf:
        raise ConfigError(f"spacing must be native or a length > 0 mm, got {text!r}")
    return length


RoiSize = Annotated[
    tuple[int, int],
    Option("Side of the window, in voxels.", name="crop", typed=int, parse=_square, default=128, at_least=1),
]
SpacingMm = Annotated[
    float | None,
    Option(
        "In-plane spacing of the window, above 0 mm, or each image's own.",
        name="spacing",
        typed=str,
        parse=_spacing_mm,
        default="native",
        metavar="native|MM",
        above=0,
    ),
]


@dataclass(frozen=True)
class CropOptions:
    """What is cut out of a patient."""

    roi_size: RoiSize = (128, 128)
    min_raters: Annotated[
        int, Option("Leave out nodules that fewer raters marked.", at_least=1, at_most=MAX_RATERS)
    ] = 1
    slices: Annotated[
        Literal["all", "max-area"], Option("All annotated slices of a nodule, or the one of largest area.")
    ] = "all"
    negatives: Annotated[int, Option("Slices without any nodule, of every scan.", at_least=0)] = 0
    seed: Annotated[int, Option("Random seed.", at_least=0)] = 0
    spacing_mm: SpacingMm = None

    def __post_init__(self) -> None:
        check_options(self)
