r"""Phantom nodules whose raters are drawn from a distribution that is known exactly.

A nodule is a level set: with :math:`d(x)` the distance, in mm, of voxel x from the surface of a wobbly ellipsoid
(negative inside), every rater draws independently

- nothing at all, with probability :math:`q`;
- else a style k, tight or generous, with probability :math:`\pi_k`, and a shift :math:`e \sim N(m_k, s^2)`; the mask
  is :math:`\{x : d(x) < e\}`, on all slices the same :math:`e`.

With D the raters' disagreement in mm, :math:`m = (-D, D)` and :math:`s = D / 2`. Hence a voxel belongs to a
rater's mask with probability

.. math:: p(x) = (1 - q) \sum_k \pi_k \Phi\left(\frac{m_k - d(x)}{s}\right)

and the image shows it: its HU are those of lung plus contrast times :math:`p(x)`, plus white noise. Of every nodule,
:math:`\pi \sim \mathrm{Dirichlet}(2, 2)` and :math:`q \sim U(0, 0.4)`. Without disagreement all raters draw
:math:`\{x : d(x) < 0\}`.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray
from scipy.stats import norm

from data_prep.phantom.appearance import KnownAppearance
from mose_med.geometry import Affine

__all__ = ["STYLES", "KnownAppearance", "KnownNodule", "draw_nodule"]

STYLES = ("tight", "generous")

_LUNG_HU = -860.0
_IN_PLANE_MM = 0.7
_SLICE_MM = 2.0
_LARGEST_MISSING_SHARE = 0.4
_HARMONICS = (2, 3, 5)


class KnownNodule(NamedTuple):
    """One nodule and the distribution of its raters; see the module.

    Attributes:
        distance_mm: d, (i, j, k).
        style_probs: of the two styles, given that anything is drawn; they sum to 1.
        missing_prob: q.
        shifts_mm: m of the two styles.
        spread_mm: s.
    """

    distance_mm: NDArray[np.float32]
    style_probs: tuple[float, float]
    missing_prob: float
    shifts_mm: tuple[float, float]
    spread_mm: float

    @property
    def affine(self) -> Affine:
        """RAS mm, the middle voxel at the origin, i to the patient's left and j to posterior."""
        affine = np.diag([-_IN_PLANE_MM, -_IN_PLANE_MM, _SLICE_MM, 1.0])
        affine[:3, 3] = -affine[:3, :3] @ [size // 2 for size in self.distance_mm.shape]
        return affine

    def foreground_probability(self) -> NDArray[np.float32]:
        """p, (i, j, k): the exact probability that a rater marks the voxel."""
        if self.spread_mm == 0:
            return np.asarray((1 - self.missing_prob) * (self.distance_mm < 0), dtype=np.float32)
        marked = [norm.cdf((shift - self.distance_mm) / self.spread_mm) for shift in self.shifts_mm]
        return np.asarray((1 - self.missing_prob) * np.tensordot(self.style_probs, marked, axes=1), dtype=np.float32)

    def draw_raters(self, number: int, rng: Generator) -> NDArray[np.uint8]:
        """Masks (i, j, k, R) of independent raters, in random order."""
        styles = rng.choice(len(STYLES), size=number, p=self.style_probs)
        shifts = np.asarray(self.shifts_mm)[styles] + self.spread_mm * rng.standard_normal(number)
        shifts[rng.random(number) < self.missing_prob] = -np.inf
        return np.asarray(self.distance_mm[..., None] < shifts, dtype=np.uint8)

    def image_hu(self, appearance: KnownAppearance, rng: Generator) -> NDArray[np.int16]:
        """The image (i, j, k), which shows p up to noise."""
        hu = _LUNG_HU + appearance.contrast_hu * self.foreground_probability()
        noise = appearance.noise_hu * rng.standard_normal(hu.shape, dtype=np.float32)
        return np.asarray(np.rint(hu + noise).clip(-1024, 3071), dtype=np.int16)


def draw_nodule(appearance: KnownAppearance, rng: Generator) -> KnownNodule:
    """A nodule of random size, shape, place in the window and raters."""
    disagreement = appearance.disagreement_mm
    tight = float(rng.dirichlet((2.0, 2.0))[0])
    missing = float(rng.uniform(0, _LARGEST_MISSING_SHARE)) if disagreement else 0.0
    return KnownNodule(
        _distance_mm(appearance.roi_size, rng),
        style_probs=(tight, 1 - tight),
        missing_prob=missing,
        shifts_mm=(-disagreement, disagreement),
        spread_mm=disagreement / 2,
    )


def _distance_mm(roi_size: tuple[int, int], rng: Generator) -> NDArray[np.float32]:
    """Radius of every voxel less that of the surface in the same direction, on the slices that a nodule fills."""
    radius = rng.uniform(4.0, 12.0)
    slices = 2 * int(0.7 * radius / _SLICE_MM) + 1
    offset = rng.uniform(-2.0, 2.0, size=2)
    amplitudes, phases = rng.uniform(0, 0.08, len(_HARMONICS)), rng.uniform(0, 2 * np.pi, len(_HARMONICS))
    i, j = ((np.arange(size) - size // 2) * _IN_PLANE_MM for size in roi_size)
    x, y = np.meshgrid(i - offset[0], j - offset[1], indexing="ij")
    z = (np.arange(slices) - slices // 2) * _SLICE_MM
    angle = np.arctan2(y, x)
    waves = [a * np.sin(n * angle + phase) for n, a, phase in zip(_HARMONICS, amplitudes, phases, strict=True)]
    around = np.hypot(x, y) / (1 + np.sum(waves, axis=0))
    return np.asarray(np.hypot(around[..., None], z) - radius, dtype=np.float32)
