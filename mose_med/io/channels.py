"""Images of several channels on one grid: a NIfTI file with a fourth axis, or a file for each channel.

The first channel says where the image lies and is what pictures show; a search of the lungs takes it for CT in HU.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch

from mose_med.ct_image import CtImage
from mose_med.errors import DataError, GeometryError
from mose_med.geometry import grid_difference
from mose_med.io.ct import of_one_volume, read_study
from mose_med.io.dicom.stacking.stack import GantryTilt
from mose_med.io.nifti.file import NiftiVolume, read_nifti_volume
from mose_med.io.nifti.images import is_nifti, nifti_study
from mose_med.io.nifti.transforms import NiftiTransform
from mose_med.io.study import ReadingOptions, Study
from mose_med.io.volumes import is_volume

__all__ = ["joined_channels", "nifti_channels", "read_channels"]

#: How far voxels of two channels may be apart.
_SAME_PLACE_MM = 0.01


def read_channels(paths: Sequence[Path], options: ReadingOptions) -> Study:
    """Read an image of one or more channels; each channel as :func:`~mose_med.io.read_study` reads a volume.

    Args:
        paths: a file for each channel, or one NIfTI file (i, j, k, channel). DICOM has one channel, and stands alone.
        options: of every channel.

    Raises:
        ConfigError: if an option is invalid.
        DataError: if a channel cannot be used, or is DICOM beside others.
        GeometryError: if a channel lies on another grid than the first.
    """
    if len(paths) == 1 and is_nifti(paths[0]) and options.series is None and options.acquisition is None:
        volume = read_nifti_volume(paths[0])
        return nifti_channels(volume, str(paths[0]), options.gantry_tilt, options.nifti_transform)
    for path in paths if len(paths) > 1 else ():
        if not is_volume(path):
            raise DataError(f"{path} must be a NIfTI, NRRD or MetaImage file to be a channel: DICOM has one channel")
    return joined_channels([read_study(path, options) for path in paths], [str(path) for path in paths])


def nifti_channels(volume: NiftiVolume, source: str, gantry_tilt: GantryTilt, transform: NiftiTransform) -> Study:
    """The channels of a NIfTI volume, which are its fourth axis where it has one; as :func:`read_channels`."""
    several = volume.array.ndim == 4 and volume.array.shape[3] > 1
    arrays = np.moveaxis(volume.array, 3, 0) if several else [volume.array]
    names = [f"{source} channel {number}" for number in range(1, len(arrays) + 1)] if len(arrays) > 1 else [source]
    studies = [
        of_one_volume(nifti_study(volume._replace(array=values), name, transform), name, gantry_tilt)
        for values, name in zip(arrays, names, strict=True)
    ]
    return joined_channels(studies, names)


def joined_channels(studies: Sequence[Study], names: Sequence[str]) -> Study:
    """One study of several, a channel each; the first says what it is of.

    Args:
        studies: each of one channel.
        names: for messages.

    Raises:
        GeometryError: if one lies on another grid than the first.
    """
    first = studies[0]
    if len(studies) == 1:
        return first
    grids = [(tuple(study.image.shape[1:]), np.asarray(study.image.affine)) for study in studies]
    for grid, name in zip(grids[1:], names[1:], strict=True):
        difference = grid_difference(*grid, *grids[0], whose="that one's", tolerance_mm=_SAME_PLACE_MM)
        if difference is not None:
            raise GeometryError(f"{name} must lie on the grid of {names[0]}: {difference}")
    # Types that differ meet in float32, the other type of an image.
    tensors = [study.image.as_tensor() for study in studies]
    joined = torch.cat([tensor.to(torch.result_type(tensor, tensors[0])) for tensor in tensors])
    return first._replace(image=CtImage(joined, first.image.affine))
