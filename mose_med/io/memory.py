"""CT volumes in memory: of MONAI, SimpleITK or nibabel."""

from __future__ import annotations

from typing import Any

import nibabel as nib
import numpy as np
import torch

from mose_med.ct_image import CtImage, PlacedImage, plain_tensor
from mose_med.errors import ConfigError, DataError
from mose_med.io.channels import joined_channels, nifti_channels
from mose_med.io.ct import of_one_volume
from mose_med.io.dicom.stacking.stack import GantryTilt
from mose_med.io.nifti.file import NiftiVolume
from mose_med.io.nifti.images import ct_study
from mose_med.io.nifti.transforms import NiftiTransform, NiftiTransforms
from mose_med.io.study import Source, Study
from mose_med.io.volumes import itk_content

__all__ = ["study_in_memory"]

_NAME = "the image"
#: NumPy has no others, bfloat16 not either.
_NUMPY_FLOATS = (torch.float16, torch.float32, torch.float64)
_KINDS = "a path, a MetaTensor, a SimpleITK image or a nibabel image"


def study_in_memory(
    image: Any, *, gantry_tilt: GantryTilt = "refuse", nifti_transform: NiftiTransform = "auto"
) -> Study:
    """A CT in HU as a study, under the same rules as one that is read from a file.

    Args:
        image: MetaTensor (C, i, j, k) or (i, j, k) with a RAS-mm affine, SimpleITK image, or nibabel image, of which a
            NIfTI one may have a fourth axis of channels.
        gantry_tilt: as for :func:`~mose_med.io.read_ct`.
        nifti_transform: of a NIfTI image of nibabel, likewise.

    Raises:
        ConfigError: if the image is of another kind, or an option does not fit.
        DataError: if it is not 3D, or has values that are not numbers.
        GeometryError: if its geometry does not fit.
    """
    if isinstance(image, torch.Tensor | CtImage) and hasattr(image, "affine"):
        channels = [of_one_volume(study, _NAME, gantry_tilt) for study in _of_placed_tensor(image)]
        return joined_channels(channels, [_NAME] * len(channels))._replace(source=Source("memory"))
    if isinstance(image, nib.Nifti1Pair):
        volume = NiftiVolume(
            np.asanyarray(image.dataobj), NiftiTransforms.of(image.header), str(image.header.get_xyzt_units()[0])
        )
        return nifti_channels(volume, _NAME, gantry_tilt, nifti_transform)._replace(source=Source("memory"))
    if type(image).__module__.partition(".")[0] == "SimpleITK":  # known without importing it
        study = _of_simpleitk(image)
    elif isinstance(image, nib.spatialimages.SpatialImage):
        study = _of_nibabel(image)
    else:
        raise ConfigError(f"image must be {_KINDS}, got {type(image).__name__}")
    return of_one_volume(study._replace(source=Source("memory")), _NAME, gantry_tilt)


def _of_placed_tensor(image: PlacedImage) -> list[Study]:
    """A study for each channel."""
    tensor = plain_tensor(image).detach().cpu()
    if tensor.is_floating_point() and tensor.dtype not in _NUMPY_FLOATS:
        tensor = tensor.float()
    values = tensor.numpy()
    channels = values[None] if values.ndim == 3 else values
    if channels.ndim != 4 or not len(channels):
        raise DataError(f"{_NAME} must have shape (1, i, j, k), got {tuple(image.shape)}")
    return [ct_study(_NAME, one, np.asarray(image.affine, dtype=np.float64), "memory") for one in channels]


def _of_simpleitk(image: Any) -> Study:
    components = image.GetNumberOfComponentsPerPixel()
    if image.GetDimension() != 3 or components != 1:
        raise DataError(
            f"{_NAME} must be a 3D volume of one value per voxel, got size {image.GetSize()} and {components} values"
        )
    content = itk_content(image, _NAME)
    return ct_study(_NAME, content.array[..., 0], content.affine, "memory")


def _of_nibabel(image: nib.spatialimages.SpatialImage) -> Study:
    values = np.asanyarray(image.dataobj)
    if values.ndim != 3:
        raise DataError(f"{_NAME} must be a 3D volume, got shape {values.shape}")
    return ct_study(_NAME, values, np.asarray(image.affine, dtype=np.float64), "memory")
