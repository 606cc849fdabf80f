"""Where the lesions of a region are, before anything is measured: listed positions, or what the marginal shows.

*Listed.* The lesion of a listed position is the connected component (26 neighbours) of the marginal above the
threshold whose nearest voxel is nearest to the position, if that is within ``reach_mm``. Its *support* is that
component together with the voxels within ``reach_mm`` of the position, of which the nearest always counts. Without
such a component the lesion is listed all the same: single samples may still see it.

*Found.* Where a region was searched, every component of at least ``min_ml`` that has a voxel in the region asked for is
a lesion, and its own support. They are numbered by volume, the largest first.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from mose_med.geometry import index_to_mm, mm_to_index, translated
from mose_med.inferers.components import Patch, component_sizes
from mose_med.inferers.regions import Box, bounding_box

__all__ = ["Place", "found_places", "listed_places"]

_POSITION_DIGITS = 4


class Place(NamedTuple):
    """A lesion before it is measured.

    Attributes:
        number: from 1.
        position_mm: as listed, or the centroid of the component; RAS.
        component: of the marginal above the threshold; None without one.
        support: where samples have to have a voxel to count.
        label: the same for places with the same component; 0 without one.
    """

    number: int
    position_mm: NDArray[np.float64]
    component: Patch | None
    support: Patch
    label: int

    @property
    def core(self) -> Patch:
        """The component, or without one the support."""
        return self.component or self.support


def listed_places(
    labels: NDArray[np.int32],
    box: Box,
    listed: Mapping[int, NDArray[np.float64]],
    affine: NDArray[np.float64],
    reach_mm: float,
) -> list[Place]:
    """Places of listed positions.

    Args:
        labels: components of the marginal above the threshold, (i, j, k) of the box.
        box: of the input's grid.
        listed: number of each position in the list of the case, and the position in RAS mm.
        affine: of the input's grid.
        reach_mm: how far from a position its lesion may begin.
    """
    return [_listed_place(labels, box, number, position, affine, reach_mm) for number, position in listed.items()]


def _listed_place(
    labels: NDArray[np.int32],
    box: Box,
    number: int,
    position_mm: NDArray[np.float64],
    affine: NDArray[np.float64],
    reach_mm: float,
) -> Place:
    near_box = _box_around(position_mm, affine, reach_mm).intersection(box)
    distance = _distance_mm(near_box, position_mm, affine)
    support = (distance <= reach_mm) | (distance == distance.min())
    near = np.where(support & (labels[near_box.slices_in(box)] > 0), distance, np.inf)
    if not np.isfinite(near).any():
        return Place(number, position_mm, None, Patch(near_box, support), 0)
    nearest = np.unravel_index(int(np.argmin(near)), near.shape)
    label = int(labels[near_box.slices_in(box)][nearest])
    component = _component(labels, box, label)
    both = near_box.union(component.box)
    joined = np.zeros(both.shape, dtype=bool)
    joined[near_box.slices_in(both)] = support
    joined[component.box.slices_in(both)] |= component.mask
    return Place(number, position_mm, component, Patch(both, joined), label)


def _component(labels: NDArray[np.int32], box: Box, label: int) -> Patch:
    mask = labels == label
    inner = bounding_box(mask)
    return Patch(_moved(inner, box.start), mask[inner.slices])


def _moved(box: Box, by: tuple[int, int, int]) -> Box:
    start, stop = np.add(box.start, by).tolist(), np.add(box.stop, by).tolist()
    return Box((start[0], start[1], start[2]), (stop[0], stop[1], stop[2]))


def _box_around(position_mm: NDArray[np.float64], affine: NDArray[np.float64], reach_mm: float) -> Box:
    """A box that holds every voxel within reach of a position, and the nearest one."""
    reach = reach_mm * np.linalg.norm(np.linalg.inv(affine[:3, :3]), axis=1) + 2
    index = mm_to_index(affine, position_mm)
    low, high = np.floor(index - reach).astype(int).tolist(), np.ceil(index + reach).astype(int).tolist()
    return Box((low[0], low[1], low[2]), (high[0] + 1, high[1] + 1, high[2] + 1))


def _distance_mm(box: Box, position_mm: NDArray[np.float64], affine: NDArray[np.float64]) -> NDArray[np.float64]:
    """Distance of every voxel centre to a position, rounded so that symmetric voxels are equally far."""
    indices = np.stack(np.meshgrid(*map(np.arange, box.shape), indexing="ij"), axis=-1).astype(np.float64)
    points = index_to_mm(translated(affine, box.start), indices)
    return np.asarray(np.round(np.linalg.norm(points - position_mm, axis=-1), 6))


def found_places(
    labels: NDArray[np.int32],
    box: Box,
    inside: NDArray[np.bool_] | None,
    affine: NDArray[np.float64],
    min_ml: float,
) -> list[Place]:
    """Places of all components.

    Args:
        labels: components of the marginal above the threshold, (i, j, k) of the box.
        box: of the input's grid.
        inside: the region asked for, (i, j, k) of the box; None is everywhere.
        affine: of the input's grid.
        min_ml: smallest component that counts.
    """
    voxel_ml = abs(float(np.linalg.det(affine[:3, :3]))) / 1000.0
    count = int(labels.max(initial=0))
    sizes = component_sizes(labels, count)
    counts = (sizes > 0) & (sizes * voxel_ml >= min_ml * (1 - 1e-9))
    if inside is not None:
        counts &= component_sizes(labels, count, inside) > 0
    places = [
        _found_place(labels, box, label, part, affine)
        for label, part in enumerate(ndimage.find_objects(labels), start=1)
        if counts[label]
    ]
    places.sort(key=lambda place: (-sizes[place.label], *np.round(place.position_mm[::-1], _POSITION_DIGITS).tolist()))
    return [place._replace(number=number) for number, place in enumerate(places, start=1)]


def _found_place(
    labels: NDArray[np.int32], box: Box, label: int, part: tuple[slice, slice, slice], affine: NDArray[np.float64]
) -> Place:
    (i, u), (j, v), (k, w) = ((edge.start, edge.stop) for edge in part)
    patch = Patch(_moved(Box((i, j, k), (u, v, w)), box.start), labels[part] == label)
    return Place(0, centroid_mm(patch, affine), patch, patch, label)


def centroid_mm(patch: Patch, affine: NDArray[np.float64]) -> NDArray[np.float64]:
    """Mean position of the voxels of a patch, RAS mm."""
    return index_to_mm(translated(affine, patch.box.start), np.argwhere(patch.mask).astype(np.float64).mean(axis=0))
