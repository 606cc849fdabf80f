"""Single slices of NIfTI volumes, read without loading the volume."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import nibabel as nib
import numpy as np
from nibabel.filebasedimages import ImageFileError
from numpy.typing import NDArray

from mose_med.errors import DataError

__all__ = ["read_slice", "slice_spacing_mm"]


def read_slice(path: Path, index: int) -> NDArray[np.generic]:
    r"""Slice k = ``index`` of a NIfTI volume.

    Of an uncompressed file only the bytes of the slice are read.

    Args:
        path: NIfTI file (i, j, k, \*rest).
        index: slice index k >= 0.

    Returns:
        The slice (i, j, \*rest) as stored, scaled where the header says so.

    Raises:
        DataError: if the file is missing or damaged, or has no such slice.
    """
    with _named_errors(path):
        image = nib.load(path)
        if len(image.shape) < 3 or not 0 <= index < image.shape[2]:
            raise DataError(f"{path} has no slice {index}: its shape is {tuple(image.shape)}")
        return np.asarray(image.dataobj[:, :, index])


def slice_spacing_mm(path: Path) -> tuple[float, float]:
    """Distance of neighbouring voxels of a NIfTI volume along i and j, in mm; the voxels are not read.

    Raises:
        DataError: if the file is missing or damaged.
    """
    with _named_errors(path):
        first, second = nib.load(path).header.get_zooms()[:2]
        return float(first), float(second)


@contextmanager
def _named_errors(path: Path) -> Iterator[None]:
    try:
        yield
    except FileNotFoundError as error:
        raise DataError(f"image {path} does not exist: was the data folder moved or prepared in part?") from error
    except (ImageFileError, OSError, ValueError, EOFError) as error:
        raise DataError(f"image {path} cannot be read: {str(error).splitlines()[0]}") from error
