"""Windows on the slices of a series, at the series' own in-plane spacing or at another one.

They lie where inference places them, by the rule of :mod:`mose_med.resampling`. HU are interpolated; masks are not, but
drawn again from the contours.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from data_prep.lidc.annotations import Contour
from data_prep.lidc.masks import mask_at, slice_mask
from data_prep.lidc.series import Series
from data_prep.window import in_plane_window
from mose_med.geometry import Affine, crop_start, translated
from mose_med.preprocessing import PADDING_HU
from mose_med.resampling import InPlaneGrid, in_plane_grid, resampled_window

__all__ = ["SeriesWindow"]


@dataclass(frozen=True)
class SeriesWindow:
    """A window on all slices of a series.

    Attributes:
        series: whose slices it is cut out of.
        centre: (i, j) in voxels of the series, oriented.
        size: voxels along i and j.
        spacing_mm: of the window's voxels in the slice; None is the series' own.
    """

    series: Series
    centre: tuple[float, float]
    size: tuple[int, int]
    spacing_mm: float | None = None

    @property
    def padded(self) -> bool:
        """Whether the window reaches past the edge of the slices."""
        grid, start = self._grid(), self._start()
        return any(s < 0 or s + n > m for s, n, m in zip(start, self.size, grid.shape, strict=False))

    def affine(self, first_z_mm: float, slice_spacing_mm: float) -> Affine:
        """RAS-mm affine of slices of the window that begin at ``first_z_mm``."""
        return translated(self._grid(first_z_mm, slice_spacing_mm).affine, (*self._start(), 0))

    def image_hu(self, hu: NDArray[np.int16]) -> NDArray[np.int16] | NDArray[np.float32]:
        """The window on an oriented slice (i, j): whole HU, or float32 where they had to be interpolated."""
        grid = self._grid()
        if _is_own(grid):
            return in_plane_window(hu, self._start(), self.size, PADDING_HU)
        return resampled_window(hu, grid, self._start(), self.size, PADDING_HU)

    def mask(self, contours: Iterable[Contour]) -> NDArray[np.bool_]:
        """What one reader outlined on a slice, (i, j)."""
        grid, series = self._grid(), self.series
        if _is_own(grid):
            return in_plane_window(series.oriented(slice_mask(contours, series.shape)), self._start(), self.size, False)
        i, j = ((np.arange(n) + s) * step for n, s, step in zip(self.size, self._start(), grid.step, strict=True))
        rows, cols = series.stored_indices(i, j)
        return mask_at(contours, rows, cols).T

    def _grid(self, first_z_mm: float = 0.0, slice_spacing_mm: float = 1.0) -> InPlaneGrid:
        rows, cols = self.series.shape
        return in_plane_grid(self.series.affine(first_z_mm, slice_spacing_mm), (cols, rows, 1), self.spacing_mm)

    def _start(self) -> tuple[int, int]:
        i, j = crop_start(tuple(c / step for c, step in zip(self.centre, self._grid().step, strict=True)), self.size)
        return i, j


def _is_own(grid: InPlaneGrid) -> bool:
    return grid.step == (1.0, 1.0)
