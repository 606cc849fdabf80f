"""Nodules of a scan and the crops that are cut around them.

A nodule is shown on every slice on which at least one reader outlined it, in a window that is the same on all its
slices. A reader who did not mark the nodule, or not on a slice, gives an empty mask: the convention of the published
LIDC sets (v1).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from data_prep.lidc.annotations import Annotation, Contour, Scan
from data_prep.lidc.clustering import MAX_RATERS, cluster_annotations
from data_prep.lidc.series import Series, SliceFile
from data_prep.lidc.series_window import SeriesWindow
from mose_med.errors import DataError
from mose_med.geometry import Affine

__all__ = ["Nodule", "NoduleRun", "crop_runs", "find_nodules", "nodule_centre"]

#: Steps between slices count as equal if they differ by at most this share of the spacing.
_SPACING_TOLERANCE = 0.1


@dataclass(frozen=True)
class Nodule:
    """Annotations of one nodule, at most four, each by another reader, in the database's order."""

    nodule_id: str
    scan: Scan
    annotations: tuple[Annotation, ...]

    @property
    def z_mm(self) -> list[float]:
        """Positions of the slices on which at least one reader outlined the nodule, ascending."""
        return sorted({contour.z_mm for annotation in self.annotations for contour in annotation.contours})


class NodulesOfScan(NamedTuple):
    """What a scan's annotations give; the counts are of nodules left out, by reason."""

    nodules: list[Nodule]
    num_over_four_annotations: int
    num_below_min_raters: int


@dataclass(frozen=True)
class NoduleRun:
    """Equally spaced slices of one nodule, cut out.

    Attributes:
        number: 1 for the nodule's first run.
        image_hu: (i, j, k), float32 where they are interpolated.
        masks: (i, j, k, R) of 0 and 1; readers that are missing come last and are empty.
        affine: RAS mm, of both.
        z_mm: position of every slice.
        raters_present: readers that outlined the nodule, for every slice.
        padded: whether the window reaches past the image edge.
    """

    nodule: Nodule
    number: int
    image_hu: NDArray[np.int16] | NDArray[np.float32]
    masks: NDArray[np.uint8]
    affine: Affine
    z_mm: tuple[float, ...]
    raters_present: tuple[int, ...]
    padded: bool


def find_nodules(scan: Scan, min_raters: int = 1) -> NodulesOfScan:
    """Nodules of a scan.

    A cluster of more than four annotations holds two nodules that touch, or a reader's second outline: it cannot be
    told whose masks belong together, and it is left out. Nodules are numbered before any is left out, so that an id
    stays the same under all options.

    Args:
        scan: with its annotations.
        min_raters: leave out nodules that fewer readers marked.
    """
    prefix = scan.patient_id if scan.number == 1 else f"{scan.patient_id}_scan-{scan.number}"
    clusters = cluster_annotations(scan)
    candidates = [Nodule(f"{prefix}_nodule-{n}", scan, cluster) for n, cluster in enumerate(clusters, start=1)]
    plausible = [nodule for nodule in candidates if len(nodule.annotations) <= MAX_RATERS]
    nodules = [nodule for nodule in plausible if len(nodule.annotations) >= min_raters]
    return NodulesOfScan(nodules, len(candidates) - len(plausible), len(plausible) - len(nodules))


def nodule_centre(nodule: Nodule, series: Series) -> tuple[float, float]:
    """Centre (i, j) of the box around all contour points of all readers on all slices, whether or not on disk."""
    points = np.concatenate([contour.points for annotation in nodule.annotations for contour in annotation.contours])
    row, col = (points.min(axis=0) + points.max(axis=0)) / 2
    return series.oriented_point(row, col)


def crop_runs(
    nodule: Nodule,
    series: Series,
    roi_size: tuple[int, int],
    read_hu: Callable[[SliceFile], NDArray[np.int16]],
    *,
    spacing_mm: float | None = None,
    largest_only: bool = False,
) -> Iterator[NoduleRun]:
    """Cut a nodule out of its series, one run of equally spaced slices after the other.

    Contours meet the slice nearest in z, within half a slice spacing. Slices that are not on disk are passed over;
    where neighbouring slices are not one slice spacing apart another run begins.

    Args:
        nodule: what to cut out.
        series: of the nodule's scan.
        roi_size: window in voxels along i and j.
        read_hu: reads one slice, oriented; ``series.read_hu``, with or without a cache.
        spacing_mm: of the window's voxels in the slice; None is the series' own.
        largest_only: the one slice whose masks have the largest area in all, the lowest of several, and no other.

    Raises:
        DataError: if the slices are smaller than the contours say, or cannot be read.
    """
    _require_contours_within(nodule, series)
    window = SeriesWindow(series, nodule_centre(nodule, series), roi_size, spacing_mm)
    spacing = nodule.scan.slice_spacing_mm
    slice_at = {z_mm: series.nearest(z_mm, spacing / 2) for z_mm in nodule.z_mm}
    slices = sorted({s for s in slice_at.values() if s is not None}, key=lambda s: s.z_mm)
    contours = {s: _contours_by_rater(nodule, slice_at, s) for s in slices}
    masks = {s: _rater_masks(contours[s], window) for s in slices}
    if largest_only and slices:
        slices = [max(slices, key=lambda s: int(masks[s].sum()))]
    for number, run in enumerate(_equally_spaced(slices, spacing), start=1):
        step = (run[-1].z_mm - run[0].z_mm) / (len(run) - 1) if len(run) > 1 else spacing
        image_hu: NDArray[Any] = np.stack([window.image_hu(read_hu(s)) for s in run], axis=2)
        yield NoduleRun(
            nodule=nodule,
            number=number,
            image_hu=image_hu,
            masks=np.stack([masks[s] for s in run], axis=2),
            affine=window.affine(run[0].z_mm, step),
            z_mm=tuple(s.z_mm for s in run),
            raters_present=tuple(sum(map(bool, contours[s])) for s in run),
            padded=window.padded,
        )


def _require_contours_within(nodule: Nodule, series: Series) -> None:
    highest = np.max([c.points.max(axis=0) for a in nodule.annotations for c in a.contours], axis=0)
    if (highest >= series.shape).any():
        rows, cols = series.shape
        raise DataError(f"{nodule.nodule_id}: contours reach (row, col) {tuple(highest)}, its slices are {rows}x{cols}")


def _equally_spaced(slices: list[SliceFile], spacing_mm: float) -> list[list[SliceFile]]:
    runs: list[list[SliceFile]] = []
    for slice_file in slices:
        step = slice_file.z_mm - runs[-1][-1].z_mm if runs else np.inf
        if abs(step - spacing_mm) <= _SPACING_TOLERANCE * spacing_mm:
            runs[-1].append(slice_file)
        else:
            runs.append([slice_file])
    return runs


def _contours_by_rater(
    nodule: Nodule, slice_at: Mapping[float, SliceFile | None], slice_file: SliceFile
) -> list[list[Contour]]:
    return [[c for c in a.contours if slice_at[c.z_mm] == slice_file] for a in nodule.annotations]


def _rater_masks(contours_by_rater: list[list[Contour]], window: SeriesWindow) -> NDArray[np.uint8]:
    """Masks (i, j, R) of all readers on one slice, cut to the window."""
    masks = np.zeros((*window.size, MAX_RATERS), dtype=np.uint8)
    for rater, contours in enumerate(contours_by_rater):
        if contours:
            masks[:, :, rater] = window.mask(contours)
    return masks
