"""Masks that belong to an image: on its grid, in whatever format and orientation they were written."""

from __future__ import annotations

from pathlib import Path

import nibabel as nib
import numpy as np
from monai.data import MetaTensor
from numpy.typing import NDArray

from mose_med.errors import DataError, GeometryError
from mose_med.geometry import index_to_mm, reorientation, spacing_mm
from mose_med.io.volumes import Volume, read_volume

__all__ = ["read_mask", "require_same_grid"]

#: How far a voxel of the mask may lie from that of the image, as a share of the smallest spacing.
_TOLERANCE = 0.1


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
    where = f"{mask_name} must lie on the grid of {image_name}"
    if mask.array.shape != image.array.shape:
        raise GeometryError(f"{where}: its shape is {mask.array.shape}, the image's {image.array.shape}")
    corners = np.asarray([[i, j, k] for i in (0, 1) for j in (0, 1) for k in (0, 1)]) * (np.array(mask.array.shape) - 1)
    apart = np.linalg.norm(index_to_mm(mask.affine, corners) - index_to_mm(image.affine, corners), axis=1)
    if apart.max() <= _TOLERANCE * spacing_mm(image.affine).min():
        return
    ours, theirs = spacing_mm(mask.affine), spacing_mm(image.affine)
    if not np.allclose(ours, theirs, rtol=1e-3):
        raise GeometryError(f"{where}: its spacing is {_text(ours)} mm, the image's {_text(theirs)} mm")
    cosines = (mask.affine[:3, :3] / ours * (image.affine[:3, :3] / theirs)).sum(axis=0)
    turned = np.degrees(np.arccos(np.clip(cosines.min(), -1, 1)))
    if turned > 0.1:
        raise GeometryError(f"{where}: its axes are turned by {turned:.1f} degrees")
    raise GeometryError(f"{where}: it lies {apart.max():.3g} mm away")


def _text(values: NDArray[np.floating]) -> str:
    return " x ".join(f"{value:.4g}" for value in values)
