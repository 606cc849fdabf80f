"""The appearance of phantoms, as options: light to import."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from mose_med.options import Option, check_options

__all__ = ["CONTRAST_HU", "NOISE_HU", "ContrastHu", "KnownAppearance", "NoiseHu"]

#: Standard deviation of the noise, and a nodule that all readers cover above lung, unless a call says otherwise.
NOISE_HU = 28.0
CONTRAST_HU = 900.0

NoiseHu = Annotated[float, Option("Standard deviation of the noise, in HU.", at_least=0)]
ContrastHu = Annotated[float, Option("Solid nodules above lung, in HU.", above=0)]


@dataclass(frozen=True)
class KnownAppearance:
    """How phantoms look and how far their raters disagree.

    Attributes:
        roi_size: voxels along i and j.
    """

    roi_size: tuple[int, int] = (128, 128)
    noise_hu: NoiseHu = NOISE_HU
    contrast_hu: ContrastHu = CONTRAST_HU
    disagreement_mm: Annotated[
        float,
        Option(
            "Datalist only: half the distance of tight and generous outlines, in mm.",
            name="rater_disagreement",
            at_least=0,
        ),
    ] = 1.5

    def __post_init__(self) -> None:
        check_options(self)
