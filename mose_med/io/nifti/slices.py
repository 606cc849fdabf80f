"""Single slices of NIfTI volumes, read without loading the volume."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import nibabel as nib
import numpy as np
from numpy.typing import NDArray

from mose_med.errors import DataError
from mose_med.io.nifti.damaged import named_nifti_errors

__all__ = ["OpenVolumes", "as_labels", "read_slice", "slice_spacing_mm"]


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
        stored = nib.load(path).dataobj
        _require_slice(path, index, stored.shape)
        return np.asarray(stored[:, :, index])


def as_labels(stored: NDArray[np.generic], path: Path) -> NDArray[np.uint8]:
    """The values of a label map as classes.

    Args:
        stored: values of any type.
        path: of their file, for the message.

    Raises:
        DataError: if one is no whole number from 0 to 255: a cast would turn it into another class.
    """
    if stored.dtype == np.uint8:
        return stored.astype(np.uint8)
    labels: NDArray[np.uint8] = np.clip(np.nan_to_num(stored), 0, 255).astype(np.uint8)
    others = stored[stored != labels]
    if others.size:
        raise DataError(f"labels of {path} must be whole numbers from 0 to 255, got {others[0]:g}: store the classes")
    return labels


class OpenVolumes:
    """:func:`read_slice` of volumes that stay open.

    Uncompressed files are mapped into memory: their pages belong to the operating system, which gives them back when
    memory is short, and are shared by all processes of the machine. Compressed and scaled files are decoded once and
    kept in memory. A copy sent to another process opens its files again.
    """

    def __init__(self) -> None:
        self._volumes: dict[Path, NDArray[np.generic]] = {}

    def __reduce__(self) -> tuple[type[OpenVolumes], tuple[()]]:
        return OpenVolumes, ()

    def read_slice(self, path: Path, index: int) -> NDArray[np.generic]:
        """As :func:`read_slice`; the slice of a mapped file is a view of it, which cannot be written to.

        Raises:
            DataError: if the file is missing or damaged, or has no such slice.
        """
        if path not in self._volumes:
            with _named_errors(path):
                self._volumes[path] = np.asanyarray(nib.load(path, mmap="r").dataobj)
        volume = self._volumes[path]
        _require_slice(path, index, volume.shape)
        return np.asarray(volume[:, :, index])


def slice_spacing_mm(path: Path) -> tuple[float, float]:
    """Distance of neighbouring voxels of a NIfTI volume along i and j, in mm; the voxels are not read.

    Raises:
        DataError: if the file is missing or damaged.
    """
    with _named_errors(path):
        first, second = nib.load(path).header.get_zooms()[:2]
        return float(first), float(second)


def _require_slice(path: Path, index: int, shape: tuple[int, ...]) -> None:
    if len(shape) < 3 or not 0 <= index < shape[2]:
        raise DataError(f"{path} has no slice {index}: its shape is {tuple(shape)}")


@contextmanager
def _named_errors(path: Path) -> Iterator[None]:
    if not path.exists():
        raise DataError(f"image {path} does not exist: was the data folder moved, or prepared only in part?")
    with named_nifti_errors(f"image {path} cannot be read"):
        yield
