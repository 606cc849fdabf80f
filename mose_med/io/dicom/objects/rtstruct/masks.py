"""Structure sets (RTSTRUCT) laid on the grid of the image that they were drawn on.

A contour belongs to the slice nearest to its plane, half a slice away at most; its pixels are those whose centres it
encloses (:mod:`mose_med.io.dicom.objects.rtstruct.polygons`). Slices between contours are not filled.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from mose_med.errors import DataError, GeometryError
from mose_med.geometry import Affine, mm_to_index
from mose_med.io.dicom.objects.object_files import read_object
from mose_med.io.dicom.objects.rtstruct.contours import CLOSED, EXTERNAL, Roi, read_rois
from mose_med.io.dicom.objects.rtstruct.polygons import pixels_inside

__all__ = ["read_structures"]

_LOGGER = logging.getLogger(__name__)
#: How far, in slices, a contour may be from flat and from its slice before a warning is given.
_TOLERANCE = 0.1
#: From the centre of a voxel to its edge, and as much as text in a file is off.
_HALF, _ROUNDED = 0.5, 1e-3


def read_structures(
    path: Path, shape: tuple[int, ...], affine: Affine, num_classes: int = 2, name: str | None = None
) -> NDArray[np.uint8]:
    """Classes on the grid of an image, 0 outside all regions.

    Args:
        path: of an RTSTRUCT.
        shape: of the image, (i, j, k).
        affine: of the image, RAS mm.
        num_classes: with background. Of two, every region is class 1; of more, ROINumber is the class.
        name: of the only region to read; None for all but the outline of the body.

    Raises:
        DataError: if the file is missing, damaged, no structure set, has no such region, or two of its regions of
            different classes overlap.
        GeometryError: if a contour does not lie on a slice of the image.
    """
    rois = _chosen(path, read_rois(read_object(path), path), name)
    classes = np.zeros(shape, dtype=np.uint8)
    for roi in rois:
        number = 1 if num_classes == 2 or name is not None else roi.number
        if number >= num_classes:
            raise DataError(
                f"{path}: ROINumber is the class of a region and must be from 1 to {num_classes - 1}, got {number}: "
                "name more with --classes, or one region with --layer"
            )
        for k, mask in _slices(path, roi, shape, affine).items():
            plane = classes[:, :, k]
            if not np.isin(plane[mask], (0, number)).all():
                raise DataError(f"{path}: region {number} overlaps another: a voxel must have one class")
            plane[mask] = number
    return classes


def _chosen(path: Path, rois: Sequence[Roi], name: str | None) -> list[Roi]:
    if name is None:
        return [roi for roi in rois if roi.kind != EXTERNAL]
    named = [roi for roi in rois if roi.name.lower() == name.lower()]
    if len(named) != 1:
        known = ", ".join(roi.name for roi in rois if roi.name) or "none with a name"
        raise DataError(f"{path} must have one region named {name}, got {len(named)}: it has {known}")
    return named


def _slices(path: Path, roi: Roi, shape: tuple[int, ...], affine: Affine) -> dict[int, NDArray[np.bool_]]:
    """Masks (i, j) of a region, by slice."""
    closed = [contour for contour in roi.contours if contour.kind in CLOSED]
    if len(closed) < len(roi.contours):
        _LOGGER.warning("%d contours of a region enclose no area and were left out", len(roi.contours) - len(closed))
    polygons: dict[int, list[NDArray[np.float64]]] = {}
    off = 0.0
    for contour in closed:
        indices = mm_to_index(affine, contour.points_mm)
        k = _slice_of(path, indices, shape)
        off = max(off, float(np.abs(indices[:, 2] - k).max()))
        polygons.setdefault(k, []).append(indices[:, :2])
    if off > _TOLERANCE:
        _LOGGER.warning("contours of a region are up to %.2f slices from the slices they are assigned to", off)
    apart = np.diff(sorted(polygons))
    if apart.size and apart.min() > 1:
        _LOGGER.warning("contours of a region are %d slices apart: the slices in between have none", apart.min())
    return {k: pixels_inside(of_slice, (shape[0], shape[1])) for k, of_slice in polygons.items()}


def _slice_of(path: Path, indices: NDArray[np.float64], shape: tuple[int, ...]) -> int:
    """The slice of a contour whose points are (n, 3) indices of the image."""
    depths = indices[:, 2]
    if np.ptp(depths) > 2 * _TOLERANCE:
        raise GeometryError(
            f"{path} must be drawn on the slices of its image: a contour crosses {np.ptp(depths):.1f} of them"
        )
    reach = _HALF + _ROUNDED
    if (indices < -reach).any() or (indices > np.asarray(shape) - 1 + reach).any():
        raise GeometryError(f"{path} must lie within its image: a contour extends past the edge")
    return int(np.clip(np.rint(depths.mean()), 0, shape[2] - 1))
