"""A case in memory as its folder will show it, so that its pictures are made while its maps are written."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mose_med.case_contents.maps import MapStorage
from mose_med.geometry import Affine
from mose_med.inferers import Box, CaseDistribution, Lesion
from mose_med.io.case.lesions import as_read_back
from mose_med.io.case.writing import step_of
from mose_med.io.nifti.header import in_steps, scaled

__all__ = ["UnwrittenCase"]


@dataclass(frozen=True)
class UnwrittenCase:
    """What :func:`~mose_med.io.case.folder.open_folder` gives of a case, before its files are there.

    Attributes:
        distribution: of the case.
        name: of the case.
        provenance: what made it.
        outputs: kinds of maps that are written.
        storage: of probabilities and entropies.
    """

    distribution: CaseDistribution
    name: str
    provenance: Mapping[str, Any]
    outputs: Collection[str]
    storage: MapStorage = "scaled"

    @property
    def shape(self) -> tuple[int, int, int]:
        """The input's grid (i, j, k)."""
        return self.distribution.shape

    @property
    def affine(self) -> Affine:
        """The affine of that grid, RAS mm."""
        return self.distribution.affine

    @property
    def num_experts(self) -> int:
        """K."""
        return self.distribution.num_experts

    @property
    def samples_per_expert(self) -> int:
        """S."""
        return self.distribution.samples_per_expert

    @property
    def classes(self) -> tuple[str, ...]:
        """Names of the foreground classes."""
        return self.distribution.classes

    @cached_property
    def lesions(self) -> tuple[Lesion, ...]:
        """The lesions with the digits that ``lesions.json`` has."""
        return as_read_back(self.distribution.lesions, classes=self.classes)

    def has(self, kind: str) -> bool:
        """Whether the maps of a kind are written."""
        return kind in self.outputs or not self.distribution.maps(kind)

    def maps(self, kind: str) -> list[str]:
        """Names of the maps of a kind without the class, if they are written."""
        return self.distribution.maps(kind) if self.has(kind) else []

    def own_crops(self, name: str, boxes: Sequence[Box], numbers: Sequence[int]) -> list[NDArray[np.generic]]:
        """Boxes of one map, with the values that its file gives back; see the method of the distribution."""
        return [self._read_back(crop) for crop in self.distribution.own_crops(name, boxes, numbers)]

    def _read_back(self, values: NDArray[np.generic]) -> NDArray[np.generic]:
        step = step_of(values.dtype, self.storage)
        return values if step is None else scaled(in_steps(values, step).astype(np.int16), (step, 0))
