"""Which annotations of a scan are of the same nodule, decided as pylidc's ``Scan.cluster_annotations`` does.

Distances are between contour points in voxel indices (row, col, slice), as in pylidc, although the tolerance that
they are compared with, the slice thickness, is in mm: the published nodules of LIDC-IDRI were found this way.
"""

from __future__ import annotations

import itertools

import numpy as np
from numpy.typing import NDArray
from scipy.sparse.csgraph import connected_components
from scipy.spatial import cKDTree

from data_prep.crop_options import MAX_RATERS
from data_prep.lidc.annotations import Annotation, Scan

__all__ = ["MAX_RATERS", "cluster_annotations"]

_TOLERANCE_FACTOR = 0.9
_MIN_TOLERANCE = 0.1


def cluster_annotations(scan: Scan) -> list[tuple[Annotation, ...]]:
    """Group a scan's annotations into nodules.

    Annotations closer than the slice thickness are joined. While a group has more than four, one for each reader, the
    tolerance shrinks by a tenth, down to 0.1; a group may still be larger in the end, where nodules touch.

    Returns:
        Nodules by ascending mean slice index, the annotations of each in the database's order.
    """
    if not scan.annotations:
        return []
    points = [_contour_points(annotation, scan.slice_zvals_mm) for annotation in scan.annotations]
    tolerance = scan.slice_thickness_mm
    distances = _minimum_distances(points, tolerance)
    labels = _groups(distances, tolerance)
    while np.bincount(labels).max() > MAX_RATERS and tolerance * _TOLERANCE_FACTOR >= _MIN_TOLERANCE:
        tolerance *= _TOLERANCE_FACTOR
        labels = _groups(distances, tolerance)
    members = [np.flatnonzero(labels == label) for label in range(labels.max() + 1)]
    members.sort(key=lambda group: np.mean([points[index][:, 2].mean() for index in group]))
    return [tuple(scan.annotations[index] for index in group) for group in members]


def _contour_points(annotation: Annotation, slice_zvals_mm: NDArray[np.float64]) -> NDArray[np.intp]:
    """All (row, col, slice) indices of the annotation's outlines, shape ``(P, 3)``."""
    parts = []
    for contour in annotation.contours:
        index = int(np.abs(slice_zvals_mm - contour.z_mm).argmin())
        parts.append(np.column_stack([contour.points, np.full(len(contour.points), index)]))
    return np.concatenate(parts)


def _minimum_distances(points: list[NDArray[np.intp]], tolerance: float) -> NDArray[np.float64]:
    """Smallest point-to-point distance of every two annotations; infinite where their boxes are farther apart."""
    lowest = np.array([p.min(axis=0) for p in points])
    highest = np.array([p.max(axis=0) for p in points])
    distances = np.full((len(points), len(points)), np.inf)
    np.fill_diagonal(distances, 0.0)
    for a, b in itertools.combinations(range(len(points)), 2):
        gap = np.maximum(np.maximum(lowest[a] - highest[b], lowest[b] - highest[a]), 0)
        if np.sqrt(np.square(gap).sum()) > tolerance:
            continue
        distances[a, b] = distances[b, a] = cKDTree(points[a]).query(points[b])[0].min()
    return distances


def _groups(distances: NDArray[np.float64], tolerance: float) -> NDArray[np.int32]:
    _, labels = connected_components(distances <= tolerance, directed=False)
    return np.asarray(labels)
