"""A lesion of a case: where it is, how large it may be, and how probable that is."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from mose_med.inferers.boxes import Box, BoxMask
from mose_med.inferers.lesions.volumes import VolumeDistribution

__all__ = ["Lesion", "LesionEntropy"]


class LesionEntropy(NamedTuple):
    """Mean entropy of a lesion's voxels, nats: ``total`` is the sum of ``between`` and ``within`` experts."""

    total: float
    between: float
    within: float


class Lesion(NamedTuple):
    """One listed nodule, or one lesion that was found; positions in RAS mm.

    Attributes:
        number: of the position in the list, or by volume, from 1.
        position_mm: as listed, or the centroid of what was found; RAS.
        in_consensus: whether the marginal's 0.5 mask has a voxel of its component; without a component, false.
        centroid_mm: of the component, RAS; None without one.
        expert_probs: (K,), pooled.
        volume_ml: distribution of the volume.
        touches_edge: whether the component reaches the edge of the windows or of the image, so that its volume may be
            cut off.
        same_as: number of an earlier lesion of the list that is the same one: their components, each in its own
            region, share more than half of the smaller's voxels. None if there is none.
        entropy: means over the component, or without one over the voxels within reach.
        found: the component, or what gives it, of a case that was read back.
        box: of the input's grid, holds the component and what every sample has there; None if it is not known.
        nodule_id: of the list; empty where nothing was listed.
        label: name of its class; empty if it is not known.
    """

    number: int
    position_mm: tuple[float, float, float]
    in_consensus: bool
    centroid_mm: tuple[float, float, float] | None
    expert_probs: NDArray[np.float64]
    volume_ml: VolumeDistribution
    touches_edge: bool
    same_as: int | None = None
    entropy: LesionEntropy = LesionEntropy(0.0, 0.0, 0.0)
    found: BoxMask | Callable[[], BoxMask | None] | None = None
    box: Box | None = None
    nodule_id: str = ""
    label: str = ""

    @property
    def component(self) -> BoxMask | None:
        """Component of the marginal above the threshold, in the lesion's own region; None without one."""
        return self.found() if callable(self.found) else self.found

    @property
    def name(self) -> str:
        """Its name in the list; its number if it has no name."""
        return self.nodule_id or str(self.number)

    @property
    def p_empty(self) -> float:
        """Weight of the samples that have no voxel there."""
        return self.volume_ml.p_empty

    @property
    def place_mm(self) -> tuple[float, float, float]:
        """Where to look for it: the centroid, or its position where there is none."""
        return self.centroid_mm or self.position_mm
