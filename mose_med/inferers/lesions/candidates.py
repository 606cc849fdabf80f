"""Positions of the lesions of a region, before measurement: listed positions, or what the marginal shows.

*Listed.* The lesion of a listed position is the connected component (26 neighbours) of the marginal above the
threshold whose nearest voxel is nearest to the position, if that is within ``reach_mm`` (the voxel nearest to the
position is always within reach). Without such a component the lesion is listed all the same: single samples may still
see it.

A position has one lesion, of one class, since a list says where to look. Of several foreground classes it is that of
the nearest component. Where no class has a component within reach, and where two are equally near, it is the class with
the larger marginal in its support.

*Found.* Where a region was searched, every component of at least ``min_ml`` that has a voxel in the region asked for is
a lesion. They are numbered by volume, the largest first.

The *support* is where a sample must have a voxel for the lesion to be present in it. For both kinds it is the
component, so a vessel that runs close by does not make an empty sample present. If the marginal has no component,
another support is used: of what any sample marks within reach, the component nearest to the position; if no sample
marks anything, everything within reach.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from mose_med.geometry import index_to_mm, mm_to_index, translated
from mose_med.inferers.boxes import Box, BoxMask, bounding_box, distance_mm
from mose_med.inferers.lesions.components import component_sizes, labelled

__all__ = ["Candidate", "ListedPosition", "centroid_mm", "found_candidates", "listed_candidate"]

_POSITION_DIGITS = 4


class ListedPosition(NamedTuple):
    """A nodule of the list: its number, from 1, and where it is, RAS mm."""

    number: int
    position_mm: NDArray[np.float64]


class Candidate(NamedTuple):
    """A lesion before it is measured.

    Attributes:
        number: from 1.
        position_mm: as listed, or the centroid of the component; RAS.
        component: of the marginal above the threshold; None without one.
        support: where samples have to have a voxel to count.
        core: the component, or without one all that is within reach: where probabilities and entropies are averaged.
        distance_mm: of the component's nearest voxel to a listed position; infinite without a component.
    """

    number: int
    position_mm: NDArray[np.float64]
    component: BoxMask | None
    support: BoxMask
    core: BoxMask
    distance_mm: float = math.inf


def listed_candidate(
    labels: NDArray[np.int32],
    box: Box,
    listed: ListedPosition,
    affine: NDArray[np.float64],
    reach_mm: float,
    marked: Callable[[Box], NDArray[np.bool_]],
) -> Candidate:
    """Candidate of a listed position.

    Args:
        labels: components of the marginal above the threshold, (i, j, k) of the box.
        box: of the input's grid.
        listed: the position.
        affine: of the input's grid.
        reach_mm: how far from a position its lesion may begin.
        marked: where any sample has a voxel, in a box of the input's grid.
    """
    near_box = _box_around(listed.position_mm, affine, reach_mm).intersection(box)
    distance = distance_mm(near_box, listed.position_mm, affine)
    reach = BoxMask(near_box, (distance <= reach_mm) | (distance == distance.min()))
    label, nearest_mm = _nearest_label(labels[near_box.slices_in(box)], reach, distance)
    if label:
        component = _component(labels, box, label)
        return Candidate(*listed, component, component, component, nearest_mm)
    seen, _ = labelled(marked(near_box) & reach.mask)
    label, _ = _nearest_label(seen, reach, distance)
    return Candidate(*listed, None, BoxMask(near_box, seen == label) if label else reach, reach)


def _nearest_label(labels: NDArray[np.int32], reach: BoxMask, distance: NDArray[np.float64]) -> tuple[int, float]:
    """Label of the voxel within reach that is nearest, 0 if none has one, and its distance."""
    near = np.where(reach.mask & (labels > 0), distance, np.inf)
    nearest = np.unravel_index(int(np.argmin(near)), near.shape)
    return int(labels[nearest]) if np.isfinite(near[nearest]) else 0, float(near[nearest])


def _component(labels: NDArray[np.int32], box: Box, label: int) -> BoxMask:
    mask = labels == label
    inner = bounding_box(mask)
    return BoxMask(inner.moved(box.start), mask[inner.slices])


def _box_around(position_mm: NDArray[np.float64], affine: NDArray[np.float64], reach_mm: float) -> Box:
    """A box that holds every voxel within reach of a position, and the nearest one."""
    reach = reach_mm * np.linalg.norm(np.linalg.inv(affine[:3, :3]), axis=1) + 2
    index = mm_to_index(affine, position_mm)
    low, high = np.floor(index - reach).astype(int).tolist(), np.ceil(index + reach).astype(int).tolist()
    return Box((low[0], low[1], low[2]), (high[0] + 1, high[1] + 1, high[2] + 1))


def found_candidates(
    labels: NDArray[np.int32],
    box: Box,
    inside: NDArray[np.bool_] | None,
    affine: NDArray[np.float64],
    min_ml: float,
) -> list[Candidate]:
    """Candidates of all components.

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
    found = [
        (-sizes[label], _found_candidate(labels, box, label, part, affine))
        for label, part in enumerate(ndimage.find_objects(labels), start=1)
        if counts[label]
    ]
    found.sort(key=lambda one: (one[0], *np.round(one[1].position_mm[::-1], _POSITION_DIGITS).tolist()))
    return [candidate._replace(number=number) for number, (_, candidate) in enumerate(found, start=1)]


def _found_candidate(
    labels: NDArray[np.int32], box: Box, label: int, part: tuple[slice, slice, slice], affine: NDArray[np.float64]
) -> Candidate:
    (i, u), (j, v), (k, w) = ((edge.start, edge.stop) for edge in part)
    component = BoxMask(Box((i, j, k), (u, v, w)).moved(box.start), labels[part] == label)
    return Candidate(0, centroid_mm(component, affine), component, component, component)


def centroid_mm(where: BoxMask, affine: NDArray[np.float64]) -> NDArray[np.float64]:
    """Mean position of the voxels of a mask, RAS mm."""
    return index_to_mm(translated(affine, where.box.start), np.argwhere(where.mask).astype(np.float64).mean(axis=0))
