"""Annotated objects of a case: where they are, and the slices they are cut out on.

An object is a connected part of what any rater drew, of any class (voxels that touch at a corner are connected), so
that outlines of one thing by several raters are one object. Slices show all that raters drew within the window, of
neighbouring objects as well.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from data_prep.rater_masks.volumes import RatedVolume
from data_prep.window import in_plane_window
from mose_med.geometry import Affine, crop_start, index_to_mm, translated
from mose_med.preprocessing import PADDING_HU
from mose_med.resampling import InPlaneGrid, in_plane_grid, resampled_window

__all__ = ["LesionCrop", "crop_lesions"]

#: Share of a voxel from which it belongs to a class; interpolation rounds.
_HALF = 0.5 - 1e-6


@dataclass(frozen=True)
class LesionCrop:
    """The slices on which any rater drew an object, cut out around it.

    Attributes:
        number: 1 for the first object of the case.
        image: (i, j, k) int16 if the values are whole numbers and not interpolated, else float32.
        masks: (i, j, k, R).
        affine: RAS mm.
        z_mm: position of every slice.
        raters_present: raters who drew something in the window, for every slice.
        raters: raters who drew something of the object's slices.
        padded: whether the window reaches past the image edge.
        cut: whether the object reaches past the window.
        centre_mm: RAS position of the window's centre voxel on the middle slice.
    """

    number: int
    image: NDArray[np.generic]
    masks: NDArray[np.uint8]
    affine: Affine
    z_mm: tuple[float, ...]
    raters_present: tuple[int, ...]
    raters: int
    padded: bool
    cut: bool
    centre_mm: tuple[float, float, float]


def crop_lesions(
    volume: RatedVolume, roi_size: tuple[int, int], spacing_mm: float | None = None
) -> Iterator[LesionCrop]:
    """Cut every annotated object out of a case.

    Args:
        volume: the case.
        roi_size: window in voxels along i and j, placed as inference places it.
        spacing_mm: of the window's voxels in the slice; None is the image's own. Values are interpolated linearly; a
            voxel belongs to a class if it does to at least one half.
    """
    image = _compact(volume.image)
    grid = in_plane_grid(volume.affine, image.shape, spacing_mm)
    components, _ = ndimage.label(volume.masks.any(axis=3), structure=np.ones((3, 3, 3)))
    for number, box in enumerate(ndimage.find_objects(components), start=1):
        yield _crop(number, box, image, volume.masks, grid, roi_size)


def _compact(image: NDArray[np.generic]) -> NDArray[np.generic]:
    limits = np.iinfo(np.int16)
    whole = image.dtype.kind in "biu" or np.array_equal(image, np.rint(image))
    fits = whole and image.min() >= limits.min and image.max() <= limits.max
    return image.astype(np.int16 if fits else np.float32, copy=False)


def _crop(
    number: int,
    box: tuple[slice, ...],
    image: NDArray[np.generic],
    masks: NDArray[np.uint8],
    grid: InPlaneGrid,
    roi_size: tuple[int, int],
) -> LesionCrop:
    low, high = (tuple(getattr(e, end) / s for e, s in zip(box, grid.step, strict=False)) for end in ("start", "stop"))
    middle = tuple((edge.start + edge.stop - 1) / 2 / step for edge, step in zip(box, grid.step, strict=False))
    start = crop_start(middle, roi_size)
    first, last = box[2].start, box[2].stop - 1
    cut_masks = _masks(masks[:, :, box[2]], grid, start, roi_size)
    drawn = cut_masks.any(axis=(0, 1))
    centre = index_to_mm(
        grid.affine, np.asarray([start[0] + roi_size[0] // 2, start[1] + roi_size[1] // 2, (first + last) // 2])
    )
    affine = translated(grid.affine, (start[0], start[1], first))
    return LesionCrop(
        number=number,
        image=_values(image[:, :, box[2]], grid, start, roi_size),
        masks=cut_masks,
        affine=affine,
        z_mm=tuple(round(float(index_to_mm(affine, np.asarray([0, 0, k]))[2]), 4) for k in range(drawn.shape[0])),
        raters_present=tuple(int(n) for n in drawn.sum(axis=1)),
        raters=int(drawn.any(axis=0).sum()),
        padded=min(start) < 0 or any(s + n > m for s, n, m in zip(start, roi_size, grid.shape, strict=False)),
        cut=any(a < s or b > s + n for a, b, s, n in zip(low, high, start, roi_size, strict=True)),
        centre_mm=(float(centre[0]), float(centre[1]), float(centre[2])),
    )


def _values(
    slices: NDArray[np.generic], grid: InPlaneGrid, start: tuple[int, ...], size: tuple[int, int]
) -> NDArray[np.generic]:
    if grid.step == (1.0, 1.0):
        return in_plane_window(slices, start, size, PADDING_HU)
    return resampled_window(slices, grid, start, size, PADDING_HU)


def _masks(
    slices: NDArray[np.uint8], grid: InPlaneGrid, start: tuple[int, ...], size: tuple[int, int]
) -> NDArray[np.uint8]:
    """Classes (i, j, k, R) in the window."""
    if grid.step == (1.0, 1.0):
        return in_plane_window(slices, start, size, 0)
    masks = np.zeros((*size, *slices.shape[2:]), dtype=np.uint8)
    for label in np.unique(slices[slices > 0]):
        masks[resampled_window(slices == label, grid, start, size, 0) >= _HALF] = label
    return masks
