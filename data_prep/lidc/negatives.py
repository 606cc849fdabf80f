"""Slices on which no reader outlined anything, with windows in the lung.

A network that only ever saw nodules in the middle of its window finds one everywhere. Readers of LIDC-IDRI outlined
nodules of 3 mm and more: a smaller one may be on such a slice.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray
from scipy.ndimage import label

from data_prep.lidc.annotations import Scan
from data_prep.lidc.clustering import MAX_RATERS
from data_prep.lidc.nodules import Nodule, NoduleRun
from data_prep.lidc.series import Series, SliceFile
from data_prep.lidc.series_window import SeriesWindow
from mose_med.runtime.seeds import numpy_stream

__all__ = ["crop_negatives"]

#: Below this, and not in one piece with the air around the patient, it is lung or airway.
_LUNG_HU = -500


def crop_negatives(
    scan: Scan, series: Series, number: int, roi_size: tuple[int, int], seed: int, spacing_mm: float | None = None
) -> Iterator[tuple[Nodule, NoduleRun]]:
    """Cut windows out of slices that are at least a spacing away from every outline.

    Slices are drawn without replacement and each window's centre is drawn from the slice's lung; both follow from the
    seed and the series alone.

    Args:
        scan: with all its annotations, also those of nodules that are left out.
        series: of the scan.
        number: of slices; fewer if there are not so many.
        roi_size: window in voxels along i and j.
        seed: another one gives other slices.
        spacing_mm: of the window's voxels in the slice; None is the series' own.

    Yields:
        A nodule without annotations and its slice, by ascending z.
    """
    if number == 0:
        return
    rng = numpy_stream("negatives", seed, scan.series_uid)
    free = _free_slices(scan, series)
    chosen = sorted(rng.permutation(len(free))[:number].tolist())
    prefix = scan.patient_id if scan.number == 1 else f"{scan.patient_id}_scan-{scan.number}"
    for count, index in enumerate(chosen, start=1):
        nodule = Nodule(f"{prefix}_negative-{count}", scan, ())
        hu = series.read_hu(free[index])
        window = SeriesWindow(series, _centre(hu, rng), roi_size, spacing_mm)
        yield nodule, _crop(nodule, window, free[index].z_mm, hu)


def _free_slices(scan: Scan, series: Series) -> list[SliceFile]:
    outlined = np.array([c.z_mm for annotation in scan.annotations for c in annotation.contours])
    return [s for s in series.slices if not (np.abs(outlined - s.z_mm) < scan.slice_spacing_mm).any()]


def _crop(nodule: Nodule, window: SeriesWindow, z_mm: float, hu: NDArray[np.int16]) -> NoduleRun:
    return NoduleRun(
        nodule=nodule,
        number=1,
        image_hu=window.image_hu(hu)[..., None],
        masks=np.zeros((*window.size, 1, MAX_RATERS), dtype=np.uint8),
        affine=window.affine(z_mm, nodule.scan.slice_spacing_mm),
        z_mm=(z_mm,),
        raters_present=(0,),
        padded=window.padded,
    )


def _centre(hu: NDArray[np.int16], rng: Generator) -> tuple[float, float]:
    """A voxel of the lung, any with the same probability; the middle of a slice without lung."""
    pieces, _ = label(hu < _LUNG_HU)
    rim = np.concatenate([pieces[0], pieces[-1], pieces[:, 0], pieces[:, -1]])
    lung = np.argwhere((pieces > 0) & ~np.isin(pieces, rim))
    if len(lung) == 0:
        return (hu.shape[0] - 1) / 2, (hu.shape[1] - 1) / 2
    i, j = lung[rng.integers(len(lung))]
    return float(i), float(j)
