"""Which slices of a lesion, and which square of them, a sheet shows."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from mose_med.geometry import mm_to_index, spacing_mm
from mose_med.inferers import Lesion
from mose_med.report.lesion_volumes import LesionVolumes

__all__ = ["LesionView", "lesion_view"]

_MARGIN_MM = 8.0
_LEAST_SIDE_MM = 30.0


class LesionView(NamedTuple):
    """Which part of the volumes is worth looking at.

    Attributes:
        middle: index of the slice where the samples draw most.
        slices: indices of the slices to show, upwards.
        half_mm: half the side of the square to show.
        centre: voxel index (i, j) of its centre.
    """

    middle: int
    slices: tuple[int, ...]
    half_mm: float
    centre: tuple[float, float]


def lesion_view(volumes: LesionVolumes, lesion: Lesion, columns: int) -> LesionView:
    """Choose the slices and the square: those around what the samples draw at the lesion's place.

    Args:
        volumes: of the box around the lesion.
        lesion: to look at.
        columns: how many slices to show; fewer if the box has fewer.
    """
    spacing, depth = spacing_mm(volumes.affine), volumes.image.shape[2]
    place = mm_to_index(volumes.affine, np.asarray(lesion.place_mm, dtype=np.float64))
    weights = np.broadcast_to(lesion.expert_probs[:, None], volumes.samples.shape[3:])
    drawn = np.einsum("ijkes,es->ijk", volumes.samples, weights)
    component = _component_at(drawn > 0, place, spacing)
    if not component.any():
        middle = int(np.clip(round(place[2]), 0, depth - 1))
        slices = _spread(middle, middle, middle, columns, depth)
        return LesionView(middle, slices, _LEAST_SIDE_MM / 2, (place[0], place[1]))
    widest_mm = max(length * edge for length, edge in zip(drawn.shape[:2], spacing, strict=False))
    middle = int(np.argmax((drawn * component).sum(axis=(0, 1))))
    i, j, k = ndimage.find_objects(component.astype(np.uint8))[0]
    extent_mm = max((i.stop - i.start) * spacing[0], (j.stop - j.start) * spacing[1])
    half_mm = max(min(extent_mm / 2 + _MARGIN_MM, widest_mm / 2), _LEAST_SIDE_MM / 2)
    i_and_j = zip((i, j), drawn.shape[:2], spacing[:2], strict=True)
    x, y = (_inside((part.start + part.stop - 1) / 2, length, half_mm / edge) for part, length, edge in i_and_j)
    return LesionView(middle, _spread(k.start, middle, k.stop - 1, columns, depth), half_mm, (x, y))


def _inside(centre: float, length: int, half: float) -> float:
    """The centre nearest to the given one about which ``half`` voxels on both sides lie inside, if they can."""
    least, most = half - 0.5, length - 0.5 - half
    return min(max(centre, least), most) if least <= most else centre


def _component_at(
    drawn: NDArray[np.bool_], place: NDArray[np.float64], spacing: NDArray[np.float64]
) -> NDArray[np.bool_]:
    """The connected component of ``drawn`` that is nearest to a place."""
    labels, count = ndimage.label(drawn, structure=np.ones((3, 3, 3)))
    if count == 0:
        return np.zeros_like(drawn)
    voxels = np.argwhere(labels)
    nearest = voxels[np.argmin((((voxels - place) * spacing) ** 2).sum(axis=1))]
    return np.asarray(labels == labels[tuple(nearest)])


def _spread(low: int, middle: int, high: int, columns: int, depth: int) -> tuple[int, ...]:
    """At most ``columns`` slices from ``low`` to ``high``, ``middle`` among them; more around where they are fewer."""
    missing = max(columns - (high - low + 1), 0)
    low, high = max(low - missing // 2, 0), min(high + missing - missing // 2, depth - 1)
    slices = np.unique(np.rint(np.linspace(low, high, columns)).astype(int))
    slices[np.abs(slices - middle).argmin()] = middle
    return tuple(slices.tolist())
