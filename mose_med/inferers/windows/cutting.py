"""Windows: the crops of a case that the network gets.

The volume is looked at in the orientation of the :class:`~mose_med.preprocessing.Preprocessing`, by reordering and
flipping axes, which loses nothing, and at its in-plane spacing, by the rule of :mod:`mose_med.resampling`. A window is
one slice of it, ``roi_size`` voxels of that grid wide along i and j; voxels beyond the edge of the image are air.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from mose_med.case_contents.lesion_rules import DEPTH_MM
from mose_med.ct_image import PlacedImage, plain_tensor
from mose_med.errors import ConfigError, DataError, ShapeError
from mose_med.geometry import Reorientation, checked_affine, crop_start, mm_to_index, reorientation, spacing_mm
from mose_med.preprocessing import Preprocessing
from mose_med.resampling import InPlaneGrid, in_plane_grid, resampled_window

__all__ = [
    "NoduleWindows",
    "OrientedVolume",
    "Window",
    "network_input",
    "nodule_windows",
    "oriented_volume",
    "require_inside",
    "windows_around",
]

#: Digits of a voxel index that count: rounding errors of affines must not decide where a window begins.
_INDEX_DIGITS = 6


class Window(NamedTuple):
    """A slice and the first voxel along i and j, which may lie outside the image."""

    slice_index: int
    start: tuple[int, int]


class OrientedVolume(NamedTuple):
    """A volume in the orientation and spacing of the network.

    Attributes:
        values: HU (i, j, k), a view of the image: its first channel.
        affine: of the values, RAS mm.
        grid: that windows are placed on, over ``values``.
        steps: that led from the image to ``values``.
        further: the other channels, as ``values`` is.
    """

    values: NDArray[np.generic]
    affine: NDArray[np.float64]
    grid: InPlaneGrid
    steps: Reorientation
    further: tuple[NDArray[np.generic], ...] = ()

    @property
    def channels(self) -> tuple[NDArray[np.generic], ...]:
        """Channels of the image, each (i, j, k)."""
        return self.values, *self.further


class NoduleWindows(NamedTuple):
    """Network input (B, C, H, W), one slice an entry, and the window of each."""

    inputs: Tensor
    windows: list[Window]


def oriented_volume(image: PlacedImage, orientation: str, in_plane_mm: float | None = None) -> OrientedVolume:
    """Look at an image (C, i, j, k), with a RAS-mm ``.affine``, in an orientation and at an in-plane spacing.

    Raises:
        ShapeError: if it is not a volume of channels, or carries no affine.
        GeometryError: if its affine or the orientation does not fit.
        DataError: if a value is not finite.
    """
    if not hasattr(image, "affine"):
        raise ShapeError(
            "image must be a monai MetaTensor or another image with its RAS-mm affine as .affine, "
            f"got {type(image).__name__}"
        )
    if len(image.shape) != 4 or 0 in image.shape:
        raise ShapeError(f"image must have shape (1, i, j, k), got {tuple(image.shape)}")
    channels = plain_tensor(image).detach().cpu().numpy()
    # One sum tells: it is finite only if every value is. Standardised, a NaN would pass for an empty window.
    if not all(np.isfinite(values.sum(dtype=np.float64)) for values in channels):
        raise DataError("image must have finite values, got NaN or infinity: replace them with -1024 (air)")
    affine = checked_affine(np.asarray(image.affine, dtype=np.float64))
    steps = reorientation(affine, orientation)
    seen, *further = map(steps.apply, channels)
    seen_affine = steps.affine(affine, channels[0].shape)
    grid = in_plane_grid(seen_affine, seen.shape, in_plane_mm)
    return OrientedVolume(seen, seen_affine, grid, steps, tuple(further))


def require_inside(image: PlacedImage, positions_mm: Sequence[Sequence[float]] | NDArray[np.floating]) -> None:
    """Check that positions, (M, 3) in RAS mm, lie in the image (1, i, j, k).

    Raises:
        ShapeError: if there is none, or they are not triples of finite numbers.
        DataError: if one lies outside.
    """
    positions = np.asarray(positions_mm, dtype=np.float64)
    if positions.ndim != 2 or positions.shape[1] != 3 or not len(positions):
        raise ShapeError(f"nodules must be at least one (x, y, z) in RAS mm, got shape {positions.shape}")
    if not np.isfinite(positions).all():
        raise ShapeError(f"nodules must be finite positions in RAS mm, got {positions[~np.isfinite(positions)][0]}")
    shape = np.asarray(image.shape[1:])
    indices = mm_to_index(np.asarray(image.affine, dtype=np.float64), positions)
    for number, (position, index) in enumerate(zip(positions, indices, strict=True), start=1):
        nearest = np.floor(np.round(index, _INDEX_DIGITS) + 0.5)
        if (nearest < 0).any() or (nearest >= shape).any():
            place = ", ".join(f"{value:.1f}" for value in position)
            voxel = ", ".join(f"{value:.0f}" for value in nearest)
            size = " x ".join(map(str, shape.tolist()))
            raise DataError(
                f"nodule {number} at ({place}) mm RAS lies outside the image: voxel ({voxel}) of {size}; "
                "is it of this study, and in RAS (LPS has the other sign in x and y)?"
            )


def windows_around(
    volume: OrientedVolume, position_mm: Sequence[float], roi_size: tuple[int, int], depth_mm: float = DEPTH_MM
) -> list[Window]:
    """One window, centred on the voxel nearest to a RAS position, on every slice within ``depth_mm`` of it.

    Raises:
        ConfigError: if ``depth_mm`` is negative.
    """
    if not depth_mm >= 0:
        raise ConfigError(f"depth_mm must be >= 0, got {depth_mm}")
    affine = volume.grid.affine
    i, j, k = np.round(mm_to_index(affine, np.asarray(position_mm)), _INDEX_DIGITS).tolist()
    start_i, start_j = crop_start((i, j), roi_size)
    distances = np.abs(np.arange(volume.grid.shape[2]) - k) * spacing_mm(affine)[2]
    near = (distances <= depth_mm + 10**-_INDEX_DIGITS) | (distances == distances.min())
    return [Window(int(index), (start_i, start_j)) for index in np.flatnonzero(near)]


def network_input(volume: OrientedVolume, windows: Sequence[Window], preprocessing: Preprocessing) -> Tensor:
    """Cut windows and preprocess them: shape (B, C, H, W), H along i and W along j."""
    size, channels = preprocessing.roi_size, volume.channels
    cut = np.empty((len(windows), len(channels), *size), dtype=np.float32)
    for targets, window in zip(cut, windows, strict=True):
        for target, values, fill in zip(targets, channels, preprocessing.fills(len(channels)), strict=True):
            plane = values[..., window.slice_index]
            target[...] = resampled_window(plane, volume.grid, window.start, size, fill)
    return preprocessing(torch.from_numpy(cut))


def nodule_windows(
    image: PlacedImage, position_mm: Sequence[float], preprocessing: Preprocessing, depth_mm: float = DEPTH_MM
) -> NoduleWindows:
    """The network input for one listed position, slices in ascending order.

    Args:
        image: CT in HU, shape (C, i, j, k), with a RAS-mm ``.affine``.
        position_mm: of the nodule, RAS.
        preprocessing: of the network.
        depth_mm: how far above and below the position slices are taken.

    Raises:
        ShapeError: if the image or the position has the wrong shape.
        DataError: if the position lies outside the image.
    """
    require_inside(image, [position_mm])
    volume = oriented_volume(image, preprocessing.orientation, preprocessing.spacing_mm)
    windows = windows_around(volume, position_mm, preprocessing.roi_size, depth_mm)
    return NoduleWindows(network_input(volume, windows, preprocessing), windows)
