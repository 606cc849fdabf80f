"""Masks that belong to an image: on its grid, in any format and orientation."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from mose_med.ct_image import PlacedImage, plain_tensor
from mose_med.errors import DataError, GeometryError
from mose_med.geometry import (
    Affine,
    grid_difference,
    mm_to_index,
    reorientation_onto,
    translated,
    window_overlap,
)
from mose_med.io.nifti.transforms import NiftiTransform
from mose_med.io.slicer import read_drawn
from mose_med.io.volumes import Volume

__all__ = ["mask_on_grid", "read_mask", "require_same_grid"]

#: Up to here a value is 0, which a scaling may have moved a little.
_NOTHING = 1e-3


def read_mask(path: Path, image: PlacedImage, nifti_transform: NiftiTransform = "auto") -> NDArray[np.bool_]:
    """Read where a mask is not 0.

    Args:
        path: of a format of :data:`~mose_med.io.volumes.VOLUME_SUFFIXES`, its axes in any order and direction.
        image: that the mask is of, (1, i, j, k) with a RAS-mm ``.affine``.
        nifti_transform: by which the image was placed. A NIfTI mask may lie by either of its transforms, or by its
            centre if the image does.

    Returns:
        (i, j, k) of the image.

    Raises:
        DataError: if the file cannot be read or has no voxel that is not 0.
        GeometryError: if it lies on another grid.
    """
    affine = np.asarray(image.affine, dtype=np.float64)
    drawn = read_drawn(path, union=True, transform="centre" if nifti_transform == "centre" else "auto")
    placed = mask_on_grid(drawn, str(path), Volume(plain_tensor(image)[0].numpy(), affine), "the study")
    inside = np.asarray(np.abs(np.asarray(placed, dtype=np.float32)) > _NOTHING)
    if not inside.any():
        raise DataError(
            f"{path} must have voxels that are not 0, got none: leave it out to find the lungs automatically"
        )
    return inside


def mask_on_grid(mask: Volume, mask_name: str, image: Volume, image_name: str) -> NDArray[np.generic]:
    """The values of a mask on the voxels of its image, for any order and direction of its axes.

    A mask of one voxel that is 0 is an empty one. One that may be cropped is placed by its origin.

    Raises:
        GeometryError: naming both and what differs, if voxels of the mask are not those of the image.
    """
    if mask.array.size == 1 and not mask.array.any():
        return np.zeros(image.array.shape, dtype=np.uint8)
    others = (mask.transforms.sform, mask.transforms.qform) if mask.transforms is not None else ()
    candidates = [mask.affine, *(affine for affine in others if affine is not None)]
    turned = [_turned(mask, affine, image.affine) for affine in candidates]
    oriented = next((one for one in turned if _difference(one, image) is None), turned[0])
    if mask.cropped and oriented.array.shape != image.array.shape:
        return _placed(oriented, mask_name, image, image_name)
    require_same_grid(oriented, mask_name, image, image_name)
    return oriented.array


def _turned(mask: Volume, affine: Affine, onto: Affine) -> Volume:
    steps = reorientation_onto(affine, onto)
    return Volume(steps.apply(mask.array), steps.affine(affine, mask.array.shape))


def _placed(mask: Volume, mask_name: str, image: Volume, image_name: str) -> NDArray[np.generic]:
    """A part of the grid of the image, placed by its origin."""
    first = np.rint(mm_to_index(image.affine, mask.affine[:3, 3])).astype(int)
    start = (int(first[0]), int(first[1]), int(first[2]))
    place = translated(image.affine, start)
    difference = grid_difference(mask.array.shape, mask.affine, mask.array.shape, place, whose="the image's")
    if difference is not None:
        raise GeometryError(f"{mask_name} must lie on the grid of {image_name}: {difference}")
    source, inside = window_overlap(start, mask.array.shape, image.array.shape)
    result = np.zeros(image.array.shape, dtype=mask.array.dtype)
    result[source] = mask.array[inside]
    lost = np.count_nonzero(mask.array) - np.count_nonzero(result)
    if lost:
        raise GeometryError(f"{mask_name} must lie within {image_name}: {lost} of its voxels are outside")
    return result


def require_same_grid(mask: Volume, mask_name: str, image: Volume, image_name: str) -> None:
    """Refuse a mask whose voxels are not those of the image; both have the same orientation.

    Raises:
        GeometryError: naming both and what differs.
    """
    difference = _difference(mask, image)
    if difference is None:
        return
    hint = ""
    if mask.array.shape != image.array.shape:
        hint = " (of cropped masks, only segmentations of 3D Slicer are placed: save it on the grid of the image)"
    raise GeometryError(f"{mask_name} must lie on the grid of {image_name}: {difference}{hint}")


def _difference(mask: Volume, image: Volume) -> str | None:
    return grid_difference(mask.array.shape, mask.affine, image.array.shape, image.affine, whose="the image's")
