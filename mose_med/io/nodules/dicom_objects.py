"""Positions from DICOM SEG and RTSTRUCT objects.

Of a SEG they are the centroids of each segment's connected components, of an RTSTRUCT the centroid of each region's
contours; one whose centroid lies in none of them, as between two nodules, is taken apart into what is connected. A
nodule is named by the label of its segment or the name of its region, else by the number of either; components of one
segment are numbered, and so are parts of one region. A region of the type EXTERNAL, the outline of the body, is not a
nodule.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from pydicom.uid import RTStructureSetStorage
from scipy.sparse.csgraph import connected_components

from mose_med.errors import DataError
from mose_med.geometry import translated
from mose_med.io.dicom.objects.object_files import read_object
from mose_med.io.dicom.objects.rtstruct.contours import CLOSED, EXTERNAL, Contour, Roi, read_rois
from mose_med.io.dicom.objects.rtstruct.polygons import areal_centre, encloses
from mose_med.io.dicom.objects.seg.reading import SEGMENTATION_CLASSES, SegmentFrame, segment_frames, segment_labels
from mose_med.io.nodules.label_maps import component_centroids
from mose_med.io.nodules.nodule import Nodule, distinct_names

__all__ = ["object_nodules"]

_LOGGER = logging.getLogger(__name__)
#: Frames that lie closer are of one slice, in mm.
_SAME_SLICE_MM = 1e-2
#: Up to so many distances of slices, a contour is of the next one.
_NEXT_SLICE = 1.5
_Place = tuple[float, float, float]


def object_nodules(path: Path) -> list[Nodule]:
    """Nodules of a SEG or an RTSTRUCT.

    Raises:
        DataError: if the object is neither, cannot be used, or shows nothing.
    """
    dataset = read_object(path)
    sop_class = dataset.get("SOPClassUID", "none")
    if sop_class in SEGMENTATION_CLASSES:
        found = list(_of_frames(list(segment_frames(dataset, path)), segment_labels(dataset)))
    elif sop_class == RTStructureSetStorage:
        found = list(_of_rois(read_rois(dataset, path)))
    else:
        raise DataError(f"nodule list {path} must be a DICOM SEG or RTSTRUCT, got SOP class {sop_class}")
    if not found:
        raise DataError(f"nodule list {path} shows nothing: give at least one segment or region")
    names = distinct_names(name for name, _ in found)
    return [Nodule(name, place) for name, (_, place) in zip(names, found, strict=True)]


def _of_frames(frames: list[SegmentFrame], labels: dict[int, str]) -> Iterator[tuple[str, _Place]]:
    """Name and centroid of every component, by segment."""
    if not frames:
        return
    to_mm = frames[0].affine
    places = np.stack([np.linalg.solve(to_mm[:3, :3], frame.affine[:3, 3] - to_mm[:3, 3]) for frame in frames])
    step = _step_mm(places[:, 2], [frame.step_mm for frame in frames])
    to_mm = to_mm @ np.diag([1, 1, step, 1])
    starts = np.rint(places / (1, 1, step)).astype(int)
    for number in sorted({int(n) for frame in frames for n in np.unique(frame.numbers) if n}):
        voxels = np.concatenate(
            [_voxels(frame.numbers == number, start) for frame, start in zip(frames, starts, strict=True)]
        )
        first = voxels.min(axis=0)
        mask = np.zeros(voxels.max(axis=0) - first + 1, dtype=bool)
        mask[tuple((voxels - first).T)] = True
        name = labels.get(number) or str(number)
        yield from (
            (name, place) for place in component_centroids(mask, translated(to_mm, (first[0], first[1], first[2])))
        )


def _voxels(mask: NDArray[np.bool_], start: NDArray[np.intp]) -> NDArray[np.intp]:
    rows, columns = np.nonzero(mask)
    return np.stack([columns, rows, np.zeros_like(rows)], axis=1) + start


def _step_mm(along: NDArray[np.float64], stated: list[float | None]) -> float:
    """Distance of neighbouring slices: the least between frames, unless the object states a smaller one."""
    apart = np.diff(np.unique(along))
    steps = [*apart[apart > _SAME_SLICE_MM].tolist(), *(step for step in stated if step)]
    return float(min(steps, default=1.0))


def _of_rois(rois: list[Roi]) -> Iterator[tuple[str, _Place]]:
    for roi in rois:
        if roi.kind == EXTERNAL:
            _LOGGER.warning("a region of the type %s, the outline of the body, is left out", EXTERNAL)
        else:
            name = roi.name or str(roi.number)
            yield from ((name, place) for place in _places(name, roi.contours))


def _places(name: str, contours: tuple[Contour, ...]) -> list[_Place]:
    """The centroid of a region, or those of its parts where that one lies in none of its contours."""
    centroid = _centroid(contours)
    closed = [contour for contour in contours if _is_closed(contour)]
    if not closed:
        return [centroid]
    # Along rows and columns of the first contour, and across it.
    axes = np.linalg.svd(closed[0].points_mm - closed[0].points_mm.mean(axis=0), full_matrices=False)[2]
    laid = [contour.points_mm @ axes.T for contour in closed]
    depths = np.array([points[:, 2].mean() for points in laid])
    apart = np.diff(np.sort(depths))
    reach = _NEXT_SLICE * float(min(apart[apart > _SAME_SLICE_MM], default=_SAME_SLICE_MM))
    if _is_inside(axes @ centroid, laid, depths, reach):
        return [centroid]
    parts = _connected(laid, depths, reach)
    if parts.max() == 0:
        return [centroid]
    _LOGGER.warning(
        "the centroid of the region %s lies in none of its contours: its %d parts are taken as nodules of their own",
        name,
        parts.max() + 1,
    )
    groups = (tuple(closed[n] for n in np.flatnonzero(parts == part)) for part in range(parts.max() + 1))
    return [_centroid(group) for group in groups]


def _is_closed(contour: Contour) -> bool:
    return contour.kind in CLOSED and len(contour.points_mm) > 2


def _is_inside(
    place: NDArray[np.float64], laid: list[NDArray[np.float64]], depths: NDArray[np.float64], reach: float
) -> bool:
    """Whether a place lies within a contour of the slice next to it."""
    away = np.abs(depths - place[2])
    near = np.flatnonzero((away <= reach) & (away <= away.min() + _SAME_SLICE_MM))
    return any(encloses(laid[n], np.array([*place[:2], depths[n]])) for n in near)


def _connected(laid: list[NDArray[np.float64]], depths: NDArray[np.float64], reach: float) -> NDArray[np.int32]:
    """Number of the part, from 0, of every contour: those of one slice or of the next whose boxes meet are of one."""
    low, high = (np.stack([of(points[:, :2], axis=0) for points in laid]) for of in (np.min, np.max))
    meet = ((low[:, None] <= high) & (low <= high[:, None])).all(axis=2)
    return np.asarray(connected_components(meet & (np.abs(depths[:, None] - depths) <= reach))[1])


def _centroid(contours: tuple[Contour, ...]) -> _Place:
    """Mean place of the areas of closed contours, holes taken off; of their points where none has an area."""
    closed = [contour.points_mm for contour in contours if _is_closed(contour)]
    areas = [areal_centre(points) for points in closed]
    signed = [sign * areal.area for sign, areal in zip(_signs(closed), areas, strict=True)]
    if sum(signed) > 0:
        x, y, z = np.average([areal.centre for areal in areas], axis=0, weights=signed)
    else:
        x, y, z = np.concatenate([contour.points_mm for contour in contours]).mean(axis=0)
    return float(x), float(y), float(z)


def _signs(contours: list[NDArray[np.float64]]) -> list[int]:
    """For every contour 1, or -1 if it is a hole: within an odd number of the others of its plane."""
    return [(-1) ** sum(encloses(other, points[0]) for other in contours if other is not points) for points in contours]
