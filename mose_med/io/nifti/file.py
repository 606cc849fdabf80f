"""What a NIfTI file holds, read by its content: gzipped or not, regardless of its name."""

from __future__ import annotations

from pathlib import Path
from typing import BinaryIO, NamedTuple

import numpy as np
from nibabel.spatialimages import HeaderDataError
from numpy.typing import NDArray

from mose_med.errors import DataError, no_file
from mose_med.io.file_kinds import is_gzipped, unpacked
from mose_med.io.nifti.damaged import named_nifti_errors
from mose_med.io.nifti.header import NiftiHeader, read_header, scaled
from mose_med.io.nifti.transforms import NiftiTransforms

__all__ = ["NiftiVolume", "read_nifti_volume"]

#: No file unpacks to more than this many times its size.
_MAX_RATIO = 1100


class NiftiVolume(NamedTuple):
    """What a NIfTI file holds.

    Attributes:
        array: its values, scaled where the header says so; a view of the file where it can be one.
        transforms: where they lie.
        unit: of length.
    """

    array: NDArray[np.generic]
    transforms: NiftiTransforms
    unit: str


def read_nifti_volume(path: Path) -> NiftiVolume:
    """Read any NIfTI file.

    Raises:
        DataError: if it is missing or damaged.
    """
    if not path.is_file():
        raise DataError(no_file(path))
    with named_nifti_errors(f"{path} cannot be read as NIfTI"):
        with unpacked(path) as stream:
            header = read_header(stream)
            stored = _stored(path, stream, header)
        return NiftiVolume(scaled(stored, header.scaling), header.transforms, header.unit)


def _stored(path: Path, stream: BinaryIO, header: NiftiHeader) -> NDArray[np.generic]:
    """Values as they are in the file, mapped into memory where they are not packed."""
    if not is_gzipped(path):
        there = path.stat().st_size - header.offset
        if there < header.num_bytes:
            raise HeaderDataError(f"it holds {max(there, 0)} bytes of voxels, its header says {header.num_bytes}")
        return np.memmap(path, header.dtype, "c", header.offset, header.shape, order="F")
    # A header must not make us ask for more memory than the file can fill.
    if header.num_bytes > _MAX_RATIO * path.stat().st_size:
        raise HeaderDataError(f"it is too small for the {header.num_bytes} bytes of voxels that its header says")
    stream.seek(header.offset)
    content = bytearray(header.num_bytes)
    filled = 0
    while filled < len(content):
        count = stream.readinto(memoryview(content)[filled:])  # type: ignore[attr-defined]
        if not count:
            raise HeaderDataError(f"it holds {filled} bytes of voxels, its header says {header.num_bytes}")
        filled += count
    return np.frombuffer(content, header.dtype).reshape(header.shape, order="F")
