"""What is asked of a case, in memory or on disk, by whatever shows it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from mose_med.geometry import Affine
from mose_med.inferers import Box, Lesion

__all__ = ["CaseMaps"]


class CaseMaps(Protocol):
    """The lesions of a case and boxes of its maps.

    :class:`~mose_med.inferers.CaseDistribution` has them in memory, :class:`~mose_med.io.case.folder.CaseFolder` on
    disk.
    """

    @property
    def shape(self) -> tuple[int, int, int]:
        """The input's grid (i, j, k)."""

    @property
    def affine(self) -> Affine:
        """The affine of that grid, RAS mm."""

    @property
    def num_experts(self) -> int:
        """K."""

    @property
    def samples_per_expert(self) -> int:
        """S."""

    @property
    def lesions(self) -> tuple[Lesion, ...]:
        """By their numbers, from 1."""

    def maps(self, kind: str) -> list[str]:
        """Names of the maps of a kind (:mod:`mose_med.case_maps`); none if there are not."""

    def own_crops(self, name: str, boxes: Sequence[Box], numbers: Sequence[int]) -> list[NDArray[np.generic]]:
        """Boxes of one map, each in the own region of the lesion of that number: (i, j, k) or (i, j, k, channels)."""
