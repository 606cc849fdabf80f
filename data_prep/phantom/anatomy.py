"""A chest around given nodules: body, chest wall, lungs and vessels as simple shapes.

Shapes are functions of a distance, in pixels, to their edge, positive inside; :func:`edge` turns it into the share of a
pixel that lies inside, so that all edges are smooth. Arrays are (row, col).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

__all__ = ["AIR_HU", "LUNG_HU", "SOFT_TISSUE_HU", "Chest", "Pocket", "edge", "vessel_share"]

AIR_HU = -1000.0
SOFT_TISSUE_HU = 40.0
LUNG_HU = -860.0
_FAT_HU = -100.0
_BONE_HU = 350.0
_MARROW_HU = 180.0

_VESSELS_PER_LITRE = 70
_MAX_VESSEL_RADIUS_MM = 2.6
#: How far out a nodule may lie: 1 is the skin. The body grows if need be.
_FARTHEST_POCKET = 0.82
#: 2 would make the body an ellipse; more makes it boxier.
_BODY_POWER = 2.5

Image = NDArray[np.float32]

#: Pixels over which the junction of two lung shapes is rounded.
_BLEND = 5.0


@dataclass(frozen=True)
class Pocket:
    """A disc that must be lung, because a nodule lies in it: (row, col) of its centre and its radius in pixels."""

    row: float
    col: float
    radius: float


def edge(distance: Image, width: float = 1.5) -> Image:
    """Share in [0, 1] of a pixel that lies inside a shape, from the signed distance to its edge in pixels."""
    return np.asarray(np.clip(distance / width + 0.5, 0, 1))


def _mix(base: Image, value: Image | float, share: Image) -> Image:
    return base + (value - base) * share


def _smooth_maximum(first: Image, second: Image) -> Image:
    """Union of two shapes whose junction is rounded over some pixels."""
    return np.asarray(np.logaddexp(first / _BLEND, second / _BLEND) * _BLEND)


class Chest:
    """One patient's chest without vessels and nodules.

    Args:
        shape: rows and columns of the slices.
        pockets: where lung is needed.
        rng: draws the patient's build.
    """

    def __init__(self, shape: tuple[int, int], pockets: Sequence[Pocket], rng: Generator) -> None:
        self._rows, self._cols = np.meshgrid(
            *(np.arange(size, dtype=np.float32) for size in shape), indexing="ij", sparse=True
        )
        self._row, self._col = (np.array(shape) - 1) / 2 + rng.uniform(-4, 4, size=2)
        self._half_height, self._half_width = np.array([172, 232]) + rng.uniform(-8, 8, size=2)
        farthest = max((self._body_radius(pocket.row, pocket.col) for pocket in pockets), default=0.0)
        self._half_height *= max(farthest / _FARTHEST_POCKET, 1)
        self._half_width *= max(farthest / _FARTHEST_POCKET, 1)
        self._wobble = rng.uniform(0, 2 * np.pi, size=6)
        self._ripple = 4 * self._waves(5)
        self._body = self._body_distance()
        self._lobes = [self._lobe(pocket) for pocket in pockets]
        self._wall_hu = self._wall()

    def slice_hu(self, height_mm: float) -> tuple[Image, Image]:
        """One slice and where its lungs are.

        Args:
            height_mm: position along the patient, from the lowest slice.

        Returns:
            HU, and the share of every pixel that is lung.
        """
        lungs = self._lungs(height_mm)
        lung_hu = LUNG_HU + 45 * (self._rows - self._row) / self._half_height
        return _mix(self._wall_hu, lung_hu, lungs), lungs

    def _waves(self, number: int) -> Image:
        """Smooth variation in [-1, 1] with the angle around the centre."""
        angle = np.arctan2(self._rows - self._row, self._cols - self._col)
        return np.asarray(np.sin(number * angle + self._wobble[number]), dtype=np.float32)

    def _body_radius(self, row: Image | float, col: Image | float) -> Any:
        """0 in the middle of the body, 1 on the skin."""
        down, across = (row - self._row) / self._half_height, (col - self._col) / self._half_width
        return (np.abs(down) ** _BODY_POWER + np.abs(across) ** _BODY_POWER) ** (1 / _BODY_POWER)

    def _body_distance(self) -> Image:
        radius = self._body_radius(self._rows, self._cols)
        return np.asarray((1 - radius) * min(self._half_height, self._half_width), dtype=np.float32)

    def _ellipse(self, row: float, col: float, half_height: float, half_width: float) -> Image:
        """Approximate signed distance to the edge of an ellipse."""
        radius = np.hypot((self._rows - row) / half_height, (self._cols - col) / half_width)
        return np.asarray((1 - radius) * min(half_height, half_width), dtype=np.float32)

    def _lungs(self, height_mm: float) -> Image:
        h, w = self._half_height, self._half_width
        size = 0.97 + 0.04 * np.sin(height_mm / 40 + self._wobble[0])
        right = self._ellipse(self._row - 0.02 * h, self._col - 0.47 * w, 0.74 * h * size, 0.38 * w * size)
        left = self._ellipse(self._row, self._col + 0.49 * w, 0.72 * h * size, 0.36 * w * size)
        heart = self._ellipse(self._row - 0.12 * h, self._col + 0.12 * w, 0.42 * h, 0.32 * w * size)
        lungs = np.minimum(np.maximum(right, left) + self._ripple, np.minimum(-heart, self._body - 28))
        for lobe in self._lobes:
            lungs = _smooth_maximum(lungs, lobe)
        return edge(np.minimum(lungs, self._body - 14), width=2.0)

    def _lobe(self, pocket: Pocket) -> Image:
        """Signed distance to the edge of a lobe that reaches from a lung's middle to a pocket."""
        side = -0.48 if pocket.col < self._col else 0.48
        reach = np.array([self._row - pocket.row, self._col + side * self._half_width - pocket.col])
        down, across = self._rows - pocket.row, self._cols - pocket.col
        along = np.clip((down * reach[0] + across * reach[1]) / max(float(reach @ reach), 1.0), 0, 1)
        distance = np.hypot(down - along * reach[0], across - along * reach[1])
        return np.asarray(pocket.radius - distance, dtype=np.float32)

    def _wall(self) -> Image:
        """HU of everything but the lungs: fat, soft tissue, bones and windpipe in air."""
        h, w = self._half_height, self._half_width
        hu = _mix(np.full_like(self._body, AIR_HU), _FAT_HU, edge(self._body))
        hu = _mix(hu, SOFT_TISSUE_HU, edge(self._body - 13 - 5 * self._waves(2)))
        spine = (self._row + 0.66 * h, self._col)
        hu = _mix(hu, _BONE_HU, edge(self._ellipse(*spine, 27, 33)))
        hu = _mix(hu, _MARROW_HU, edge(self._ellipse(*spine, 23, 29)))
        hu = _mix(hu, 20.0, edge(self._ellipse(spine[0] + 38, spine[1], 9, 11)))
        hu = _mix(hu, _BONE_HU, edge(self._ellipse(self._row - 0.80 * h, self._col, 8, 24)))
        hu = _mix(hu, AIR_HU, edge(self._ellipse(self._row + 0.1 * h, self._col - 6, 10, 12)))
        between_skin_and_lungs = np.minimum(self._body - 15, 26 - self._body)
        for angle in np.arange(0, 2 * np.pi, np.pi / 6) + 0.1 * np.sin(self._wobble[1]):
            row, col = self._row + 0.83 * h * np.sin(angle), self._col + 0.85 * w * np.cos(angle)
            rib = self._ellipse(row, col, 10 + 14 * abs(np.cos(angle)), 10 + 22 * abs(np.sin(angle)))
            hu = _mix(hu, _BONE_HU, edge(np.minimum(rib, between_skin_and_lungs)))
        return hu


def vessel_share(shape: tuple[int, int, int], voxel_mm: tuple[float, float, float], rng: Generator) -> Image:
    """Random bent tubes that fan out from the middle of the chest and get thinner on the way.

    Args:
        shape: slices, rows, columns.
        voxel_mm: slice spacing, row spacing, column spacing.
        rng: draws the vessels.

    Returns:
        Share in [0, 1] of every voxel that is vessel, shape ``shape``.
    """
    share = np.zeros(shape, dtype=np.float32)
    extent = np.array(shape) * voxel_mm
    for _ in range(int(_VESSELS_PER_LITRE * extent.prod() / 1e6)):
        position = rng.uniform(0, 1, size=3) * extent
        outward = position - extent / 2
        centrality = np.exp(-np.square(outward[1:] / 70).sum())
        radius_mm = min((0.5 + rng.gamma(1.6, 0.35)) * (1 + centrality), _MAX_VESSEL_RADIUS_MM)
        direction = rng.normal(size=3) + 1.5 * outward / np.linalg.norm(outward + 1e-6)
        for _ in range(int(rng.integers(15, 50))):
            direction = direction / np.linalg.norm(direction) + 0.15 * rng.normal(size=3)
            position = position + radius_mm * direction
            radius_mm *= 0.99
            _stamp(share, position, radius_mm, voxel_mm)
    return share


def _stamp(
    share: Image, centre_mm: NDArray[np.float64], radius_mm: float, voxel_mm: tuple[float, float, float]
) -> None:
    """Add a ball to ``share``, in place."""
    ranges = [
        range(max(math.ceil((c - radius_mm) / s - 0.5), 0), min(math.floor((c + radius_mm) / s + 0.5) + 1, size))
        for c, s, size in zip(centre_mm, voxel_mm, share.shape, strict=True)
    ]
    if not all(ranges):
        return
    k, j, i = (np.arange(r.start, r.stop) * s - c for r, s, c in zip(ranges, voxel_mm, centre_mm, strict=True))
    distance = np.sqrt((k * k)[:, None, None] + (j * j)[:, None] + i * i)
    box = share[tuple(slice(r.start, r.stop) for r in ranges)]
    np.maximum(box, np.minimum((radius_mm - distance) / voxel_mm[1] + 0.5, 1), out=box)
