"""Masks that belong to an image: on its grid, in whatever format and orientation they were written."""

from __future__ import annotations

from pathlib import Path

import nibabel as nib
import numpy as np
from monai.data import MetaTensor
from numpy.typing import NDArray

from mose_med.errors import DataError, GeometryError
from mose_med.geometry import grid_difference, reorientation
from mose_med.io.volumes import Volume, read_volume

__all__ = ["read_mask", "require_same_grid"]


def read_mask(path: Path, image: MetaTensor) -> NDArray[np.bool_]:
    """Read where a mask is not 0.

    Args:
        path: of a format of :data:`~mose_med.io.volumes.VOLUME_SUFFIXES`, its axes in any order and direction.
        image: that the mask is of, (1, i, j, k) with a RAS-mm ``.affine``.

    Returns:
        (i, j, k) of the image.

    Raises:
        DataError: if the file cannot be read or has no voxel that is not 0.
        GeometryError: if it lies on another grid.
    """
    affine = np.asarray(image.affine, dtype=np.float64)
    volume = read_volume(path)
    steps = reorientation(volume.affine, "".join(nib.orientations.aff2axcodes(affine)))
    mask = Volume(steps.apply(volume.array), steps.affine(volume.affine, volume.array.shape))
    require_same_grid(mask, str(path), Volume(image.as_tensor()[0].numpy(), affine), "the study")
    inside = np.asarray(mask.array != 0)
    if not inside.any():
        raise DataError(f"{path} must have voxels that are not 0, got none: leave it out to have the lungs found")
    return inside


def require_same_grid(mask: Volume, mask_name: str, image: Volume, image_name: str) -> None:
    """Refuse a mask whose voxels are not those of the image; both are oriented alike.

    Raises:
        GeometryError: naming both and what differs.
    """
    difference = grid_difference(mask.array.shape, mask.affine, image.array.shape, image.affine, whose="the image's")
    if difference is not None:
        raise GeometryError(f"{mask_name} must lie on the grid of {image_name}: {difference}")
