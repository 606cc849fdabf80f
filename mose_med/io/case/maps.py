"""The interface of a case, in memory or on disk, for everything that shows it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from mose_med.geometry import Affine
from mose_med.inferers import Box, Lesion

__all__ = ["CaseMaps", "ReviewedCase", "class_if_several"]


class CaseMaps(Protocol):
    """The lesions of a case and boxes of its maps.

    :class:`~mose_med.inferers.CaseDistribution` has them in memory, :class:`~mose_med.io.case.folder.CaseFolder` on
    disk, :class:`~mose_med.io.case.unwritten.UnwrittenCase` as they will be on disk.
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
        """The lesions, in the order of their numbers, from 1."""

    @property
    def classes(self) -> tuple[str, ...]:
        """Names of the foreground classes, where they are known."""

    def maps(self, kind: str) -> list[str]:
        """Names of the maps of a kind (:mod:`mose_med.case_contents.maps`) without the class; none if there are not."""

    def own_crops(self, name: str, boxes: Sequence[Box], numbers: Sequence[int]) -> list[NDArray[np.generic]]:
        """Boxes of one map, each of the class and in the own region of a lesion: (i, j, k) or (i, j, k, channels)."""


class ReviewedCase(CaseMaps, Protocol):
    """What a review says of a case: its maps as they are stored, its name and what made it.

    :class:`~mose_med.io.case.folder.CaseFolder` reads it, :class:`~mose_med.io.case.unwritten.UnwrittenCase` has it
    before it is written.
    """

    @property
    def name(self) -> str:
        """The name of the case."""

    @property
    def provenance(self) -> Mapping[str, Any]:
        """What made the case, in plain types."""

    def has(self, kind: str) -> bool:
        """Whether the case has the maps of a kind."""


def class_if_several(case: CaseMaps, lesion: Lesion) -> str:
    """Class of a lesion where the case has several; empty if there is only one."""
    return lesion.label if len(case.classes) > 1 else ""
