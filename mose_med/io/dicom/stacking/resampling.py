"""Resampling of slices to another grid: shifted in their plane, and interpolated between.

Interpolation is linear. A shift moves whole slices in their plane, so a tilted gantry is corrected without mixing
slices. HU are rounded to whole numbers; where the grid reaches past a slice there is air.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import numpy as np
from numpy.typing import NDArray

from mose_med.io.dicom.stacking.stack import Grid
from mose_med.preprocessing import PADDING_HU

__all__ = ["planes_on_grid"]


def planes_on_grid(slices: Iterable[NDArray[np.float32]], grid: Grid) -> Iterator[NDArray[np.float32]]:
    """Planes (row, column) of a grid, one by one.

    Args:
        slices: HU (row, column) of at least two slices, in the order of the grid's ``shifts``; read as they are needed.
        grid: to lay them on.
    """
    shifted = (_shifted(plane, shift, grid) for plane, shift in zip(slices, grid.shifts, strict=True))
    number, below, above = 0, next(shifted), next(shifted)
    for place in grid.places:
        while place > number + 1:
            number, below, above = number + 1, above, next(shifted)
        yield np.rint(below + np.float32(place - number) * (above - below))


def _shifted(plane: NDArray[np.float32], shift: NDArray[np.float64], grid: Grid) -> NDArray[np.float32]:
    import SimpleITK  # here, since few inputs need it

    resampled = SimpleITK.Resample(
        SimpleITK.GetImageFromArray(plane),
        grid.shape[:2],
        SimpleITK.TranslationTransform(2, (-shift).tolist()),
        SimpleITK.sitkLinear,
        (0.0, 0.0),
        (1.0, 1.0),
        (1.0, 0.0, 0.0, 1.0),
        PADDING_HU,
        SimpleITK.sitkFloat32,
    )
    return np.asarray(SimpleITK.GetArrayFromImage(resampled))
