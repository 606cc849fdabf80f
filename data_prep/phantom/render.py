"""Slices of a phantom: a rendered chest with a scan's annotated nodules in it.

A nodule is the denser, the more readers cover a voxel: how likely each outline is can be read off the image, up to
noise, blur and the nodule's own contrast. A nodule that few readers marked is faint.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter

from data_prep.lidc.annotations import Contour, Scan
from data_prep.lidc.clustering import MAX_RATERS
from data_prep.lidc.masks import slice_mask
from data_prep.lidc.nodules import Nodule, find_nodules
from data_prep.phantom.anatomy import AIR_HU, LUNG_HU, SOFT_TISSUE_HU, Chest, Pocket, vessel_share
from data_prep.phantom.appearance import CONTRAST_HU, NOISE_HU
from mose_med.runtime.seeds import numpy_stream

__all__ = ["RenderedSlice", "render_scan"]

_SHAPE = (512, 512)
#: Density, as a share of soft tissue, by the number of readers that cover the voxel.
_DENSITY = np.array([0.0, 0.35, 0.6, 0.8, 1.0], dtype=np.float32)
_BLUR_PIXELS = 0.8
_POCKET_MARGIN_PIXELS = 12


class RenderedSlice(NamedTuple):
    """One slice: where it lies and its HU, (row, col)."""

    number: int
    z_mm: float
    hu: NDArray[np.int16]


def render_scan(
    scan: Scan, *, seed: int, margin_slices: int = 2, noise_hu: float = NOISE_HU, contrast_hu: float = CONTRAST_HU
) -> Iterator[RenderedSlice]:
    """Render the annotated range of a scan at its real z positions.

    Args:
        scan: with at least one annotation.
        seed: the same seed gives the same voxels.
        margin_slices: slices below and above the annotated ones.
        noise_hu: standard deviation of the noise.
        contrast_hu: of a nodule that all readers cover, above lung.

    Yields:
        Slices by ascending z, numbered as in the whole scan, from 1.
    """
    nodules = find_nodules(scan).nodules
    zvals = np.unique(scan.slice_zvals_mm)
    annotated = [int(np.abs(zvals - z_mm).argmin()) for nodule in nodules for z_mm in nodule.z_mm]
    first, stop = max(min(annotated) - margin_slices, 0), min(max(annotated) + margin_slices + 1, len(zvals))
    rng = _generator(seed, scan.series_uid)
    chest = Chest(_SHAPE, [_pocket(nodule) for nodule in nodules], rng)
    voxel_mm = (scan.slice_spacing_mm, scan.pixel_spacing_mm, scan.pixel_spacing_mm)
    vessels = vessel_share((stop - first, *_SHAPE), voxel_mm, rng)
    contrasts = rng.uniform(0.75, 1.05, size=len(nodules))
    texture = gaussian_filter(rng.standard_normal(_SHAPE, dtype=np.float32), 3.0)
    texture /= texture.std()
    for index in range(first, stop):
        hu, lungs = chest.slice_hu(float(zvals[index] - zvals[first]))
        density = _density(nodules, contrasts, scan, float(zvals[index]))
        near_nodule = np.clip(gaussian_filter((density > 0).astype(np.float32), 2.0) * 3, 0, 1)
        vessel = vessels[index - first] * (lungs > 0.5) * (1 - near_nodule)
        solid = gaussian_filter(density * (1 + 0.06 * texture), _BLUR_PIXELS)
        full_hu = np.where(solid >= vessel, np.float32(LUNG_HU + contrast_hu), np.float32(SOFT_TISSUE_HU))
        hu = hu + 12 * texture * lungs + np.clip(full_hu - hu, 0, None) * np.maximum(solid, vessel)
        yield RenderedSlice(index + 1, float(zvals[index]), _with_noise(hu, noise_hu, rng))


def _generator(seed: int, series_uid: str) -> Generator:
    return numpy_stream("phantom", seed, series_uid)


def _pocket(nodule: Nodule) -> Pocket:
    points = np.concatenate([contour.points for annotation in nodule.annotations for contour in annotation.contours])
    low, high = points.min(axis=0), points.max(axis=0)
    row, col = (low + high) / 2
    return Pocket(row, col, float(np.hypot(*(high - low))) / 2 + _POCKET_MARGIN_PIXELS)


def _density(nodules: list[Nodule], contrasts: NDArray[np.float64], scan: Scan, z_mm: float) -> NDArray[np.float32]:
    density = np.zeros(_SHAPE, dtype=np.float32)
    for nodule, contrast in zip(nodules, contrasts, strict=True):
        covering = np.zeros(_SHAPE, dtype=np.intp)
        for annotation in nodule.annotations:
            covering += slice_mask(_contours_on(annotation.contours, z_mm, scan.slice_spacing_mm), _SHAPE)
        np.maximum(density, _DENSITY[np.minimum(covering, MAX_RATERS)] * np.float32(contrast), out=density)
    return density


def _contours_on(contours: tuple[Contour, ...], z_mm: float, spacing_mm: float) -> list[Contour]:
    return [contour for contour in contours if abs(contour.z_mm - z_mm) < spacing_mm / 2]


def _with_noise(hu: NDArray[np.float32], noise_hu: float, rng: Generator) -> NDArray[np.int16]:
    noise = gaussian_filter(rng.standard_normal(_SHAPE, dtype=np.float32), 0.6)
    noise *= noise_hu / noise.std()
    return np.asarray(np.rint(hu + noise).clip(AIR_HU - 24, 3071), dtype=np.int16)
