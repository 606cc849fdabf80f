"""The regions to search in a case: around listed nodules, over the lungs, or everywhere."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, NamedTuple, cast

import numpy as np
from numpy.typing import NDArray

from mose_med.errors import ConfigError, DataError, GeometryError
from mose_med.inferers.boxes import Box
from mose_med.inferers.lesions.candidates import ListedPosition
from mose_med.inferers.lungs import lung_mask
from mose_med.inferers.windows.cutting import OrientedVolume, Window, windows_around
from mose_med.inferers.windows.sliding import sliding_windows

__all__ = ["AskedRegion", "RegionName", "checked_region", "listed_regions", "lungs_of", "searched_region"]

RegionName = Literal["nodules", "lungs", "full"]


class AskedRegion(NamedTuple):
    """A region before inference: a box of the oriented grid.

    Attributes:
        box: that holds the windows.
        windows: that lie in it.
        listed: the position that it is about; None where lesions are searched for.
    """

    box: Box
    windows: list[Window]
    listed: ListedPosition | None


def checked_region(
    region: str | None,
    nodules: Sequence[Sequence[float]] | NDArray[np.floating] | None,
    lungs: NDArray[np.bool_] | None,
) -> RegionName:
    """The region to use if none is named.

    Raises:
        ConfigError: if the arguments contradict each other.
    """
    where = region or ("lungs" if nodules is None else "nodules")
    if where not in ("nodules", "lungs", "full"):
        raise ConfigError(f"region must be 'nodules', 'lungs' or 'full', got {region!r}")
    if where == "nodules" and nodules is None:
        raise ConfigError("nodules must be given with region 'nodules', got None: or search region 'lungs' or 'full'")
    if where != "nodules" and nodules is not None:
        raise ConfigError(f"nodules apply only to region 'nodules', got region {where!r}: give one of them")
    if where != "lungs" and lungs is not None:
        raise ConfigError(f"lungs, a mask, applies only to region 'lungs', got region {where!r}: leave it out")
    return cast(RegionName, where)


def lungs_of(volume: OrientedVolume, given: NDArray[np.bool_] | None) -> NDArray[np.bool_]:
    """Mask of the lungs (i, j, k) of the oriented volume: as given on the image's grid, or by threshold.

    Raises:
        GeometryError: if the given mask has another shape.
        DataError: if it is empty, or no lungs are found.
    """
    if given is None:
        return lung_mask(volume.values, volume.affine)
    shape = volume.steps.undo(volume.values).shape
    if given.shape != shape:
        raise GeometryError(f"the lung mask must have the shape of the image, {shape}, got {given.shape}")
    if not given.any():
        raise DataError("the lung mask must have a voxel, got none: leave it out, or use region 'full'")
    return np.asarray(volume.steps.apply(given), dtype=bool)


def listed_regions(
    volume: OrientedVolume, positions: NDArray[np.float64], roi_size: tuple[int, int], depth_mm: float
) -> list[AskedRegion]:
    """One for every listed position, its own windows alone in it: what else is listed changes nothing there."""
    regions = []
    for number, position in enumerate(positions, start=1):
        windows = windows_around(volume, position, roi_size, depth_mm)
        regions.append(
            AskedRegion(_box(windows, roi_size, volume.grid.shape), windows, ListedPosition(number, position))
        )
    return regions


def searched_region(
    volume: OrientedVolume, inside: NDArray[np.bool_] | None, roi_size: tuple[int, int], overlap: float
) -> AskedRegion:
    """One box, with windows over a mask of ``volume.values`` or over everything."""
    windows = sliding_windows(volume, inside, roi_size, overlap)
    return AskedRegion(_box(windows, roi_size, volume.grid.shape), windows, None)


def _box(windows: list[Window], roi_size: tuple[int, int], shape: tuple[int, ...]) -> Box:
    """Smallest box of a grid of ``shape`` that holds the windows."""
    starts = np.array([(*window.start, window.slice_index) for window in windows])
    low, high = starts.min(axis=0), starts.max(axis=0) + np.array([*roi_size, 1])
    start, stop = np.maximum(low, 0).tolist(), np.minimum(high, shape).tolist()
    return Box((start[0], start[1], start[2]), (stop[0], stop[1], stop[2]))
