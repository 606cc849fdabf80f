"""The header of a NIfTI file, checked before it is used: wrong values must not become voxels."""

from __future__ import annotations

from typing import BinaryIO, NamedTuple

import nibabel as nib
import numpy as np
from nibabel.spatialimages import HeaderDataError
from nibabel.volumeutils import apply_read_scaling
from numpy.typing import NDArray

from mose_med.io.file_kinds import kind_of
from mose_med.io.nifti.transforms import NiftiTransforms

__all__ = ["NiftiHeader", "in_steps", "read_header", "scaled"]

_VERSIONS = {348: nib.Nifti1Header, 540: nib.Nifti2Header}
_MAGIC = {b"n+1": 348, b"n+2": 540}
_PAIRED = (b"ni1", b"ni2")
_MAX_DIMENSIONS = 7
_UNITS = {0: "unknown", 1: "meter", 2: "mm", 3: "micron"}


class NiftiHeader(NamedTuple):
    """What is needed to read a file.

    Attributes:
        shape: of the array, the first axis running fastest.
        dtype: of the stored values.
        offset: of the first value in the file, in bytes.
        scaling: slope and intercept; None where stored values are the values.
        unit: of length.
        transforms: where the voxels lie.
    """

    shape: tuple[int, ...]
    dtype: np.dtype[np.generic]
    offset: int
    scaling: tuple[float, float] | None
    unit: str
    transforms: NiftiTransforms

    @property
    def num_bytes(self) -> int:
        """Of the stored values."""
        size = self.dtype.itemsize
        for length in self.shape:
            size *= length
        return size


def read_header(stream: BinaryIO) -> NiftiHeader:
    """Read and check the header, with which a file begins.

    Raises:
        HeaderDataError: naming what is wrong, without the file's name.
    """
    block = stream.read(max(_VERSIONS))
    size, endianness = _size_of_header(block)
    if len(block) < size:
        raise HeaderDataError(f"it ends after {len(block)} bytes, within its header")
    header = _VERSIONS[size](block[:size], endianness, check=False)
    _check_magic(bytes(header["magic"].tobytes()), size)
    shape = _shape(header)
    return NiftiHeader(
        shape, _dtype(header), _offset(header, size), _scaling(header), _unit(header), NiftiTransforms.of(header)
    )


def _size_of_header(block: bytes) -> tuple[int, str]:
    for endianness, size in (("<", int.from_bytes(block[:4], "little")), (">", int.from_bytes(block[:4], "big"))):
        if size in _VERSIONS and len(block) >= 4:
            return size, endianness
    if not block:
        raise HeaderDataError("it is empty")
    kind = kind_of(block)
    raise HeaderDataError("it does not begin as one" if kind is None else f"it is {kind}")


def _check_magic(magic: bytes, size: int) -> None:
    if magic[:3] in _PAIRED:
        raise HeaderDataError("it is the header of a pair of files (.hdr, .img): convert it to a single one")
    if _MAGIC.get(magic[:3]) != size:
        raise HeaderDataError("its header does not say that it is NIfTI: an Analyze file does not tell left from right")


def _shape(header: nib.Nifti1Header) -> tuple[int, ...]:
    number = int(header["dim"][0])
    if not 1 <= number <= _MAX_DIMENSIONS:
        raise HeaderDataError(f"its header must have 1 to {_MAX_DIMENSIONS} dimensions, got {number}")
    shape = tuple(int(length) for length in header["dim"][1 : number + 1])
    if min(shape) < 1:
        raise HeaderDataError(f"its header must have sizes >= 1, got {shape}")
    return shape


def _dtype(header: nib.Nifti1Header) -> np.dtype[np.generic]:
    try:
        dtype: np.dtype[np.generic] = np.dtype(header.get_data_dtype())
    except (HeaderDataError, KeyError):
        dtype = np.dtype(np.void)
    if not dtype.itemsize:
        raise HeaderDataError(f"its header must name a known type of values, got datatype {int(header['datatype'])}")
    return dtype


def _offset(header: nib.Nifti1Header, size: int) -> int:
    offset = float(header["vox_offset"])
    if not np.isfinite(offset) or offset != int(offset) or offset < size + 4:
        raise HeaderDataError(f"its header must have a vox_offset >= {size + 4}, where values begin, got {offset:g}")
    return int(offset)


def _scaling(header: nib.Nifti1Header) -> tuple[float, float] | None:
    slope, intercept = float(header["scl_slope"]), float(header["scl_inter"])
    if slope == 0 or np.isnan(slope):
        return None
    if not np.isfinite([slope, intercept]).all():
        raise HeaderDataError(f"its header must scale by finite numbers, got slope {slope:g}, intercept {intercept:g}")
    return None if (slope, intercept) == (1, 0) else (slope, intercept)


def _unit(header: nib.Nifti1Header) -> str:
    return _UNITS.get(int(header["xyzt_units"]) & 7, "unknown")


def scaled(stored: NDArray[np.generic], scaling: tuple[float, float] | None) -> NDArray[np.generic]:
    """Values of stored ones: as they are, or float32."""
    if scaling is None:
        return stored
    return np.asarray(apply_read_scaling(stored, *map(np.float64, scaling)), dtype=np.float32)


def in_steps(values: NDArray[np.generic], step: float) -> NDArray[np.generic]:
    """Whole numbers of steps that values are stored as: the nearest, even ones of two that are as near."""
    return np.asarray(np.rint(np.divide(values, step)))
