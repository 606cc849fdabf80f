"""Of regions that share voxels, which one the dense maps take a voxel from: that of the nearest position."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from mose_med.geometry import index_to_mm, translated
from mose_med.inferers.regions import Box

__all__ = ["distance_mm", "nearest_shares"]


def nearest_shares(
    boxes: Sequence[Box], positions_mm: Sequence[NDArray[np.float64]], affine: NDArray[np.float64]
) -> list[NDArray[np.bool_] | None]:
    """Of every box the voxels that are nearer to its position than to that of any other box that holds them.

    Of positions that are equally far, the one with the least coordinates has the voxel, whatever their order.

    Args:
        boxes: of the input's grid.
        positions_mm: of each box, RAS.
        affine: of the input's grid.

    Returns:
        Masks (i, j, k) of the boxes; None where no other box shares a voxel.

    Example:
        >>> boxes = [Box((0, 0, 0), (4, 1, 1)), Box((2, 0, 0), (6, 1, 1))]
        >>> shares = nearest_shares(boxes, [np.array([1.5, 0, 0]), np.array([3.5, 0, 0])], np.eye(4))
        >>> [share.ravel().tolist() for share in shares]
        [[True, True, True, False], [False, True, True, True]]
    """
    order = sorted(range(len(boxes)), key=lambda n: (*positions_mm[n].tolist(), n))
    rank = {n: place for place, n in enumerate(order)}
    shares: list[NDArray[np.bool_] | None] = [None] * len(boxes)
    for n, box in enumerate(boxes):
        for other in range(len(boxes)):
            if other == n or not boxes[other].overlaps(box):
                continue
            both = box.intersection(boxes[other])
            own, others = (distance_mm(both, positions_mm[of], affine) for of in (n, other))
            share = shares[n]
            if share is None:
                share = np.ones(box.shape, dtype=np.bool_)
            share[both.slices_in(box)] &= own <= others if rank[n] < rank[other] else own < others
            shares[n] = share
    return shares


def distance_mm(box: Box, position_mm: NDArray[np.float64], affine: NDArray[np.float64]) -> NDArray[np.float64]:
    """Distance of every voxel centre to a position, rounded so that symmetric voxels are equally far."""
    indices = np.stack(np.meshgrid(*map(np.arange, box.shape), indexing="ij"), axis=-1).astype(np.float64)
    points = index_to_mm(translated(affine, box.start), indices)
    return np.asarray(np.round(np.linalg.norm(points - position_mm, axis=-1), 6))
