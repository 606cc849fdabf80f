"""NIfTI volumes: CT in, maps out.

Files are written slab by slab, so that a map never has to be in memory as a whole; the gzip header carries no time and
no name, so the same values give the same bytes.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

import nibabel as nib
import numpy as np
import torch
from isal import igzip
from monai.data import MetaTensor
from nibabel.spatialimages import SpatialImage
from numpy.typing import DTypeLike, NDArray

from mose_med.errors import DataError, GeometryError, ShapeError
from mose_med.geometry import checked_affine
from mose_med.io.damaged_nifti import named_nifti_errors
from mose_med.io.gzip_writer import GzipWriter
from mose_med.io.hu_volume import compact_hu
from mose_med.io.study import Form, Source, Study

__all__ = ["ct_study", "is_nifti", "open_nifti", "read_nifti", "write_nifti"]

_SCANNER_COORDINATES = 1


def is_nifti(path: str | os.PathLike[str]) -> bool:
    """Whether the name ends as a NIfTI file's does.

    Example:
        >>> is_nifti("ct.nii.gz"), is_nifti("study.zip")
        (True, False)
    """
    return Path(path).name.lower().endswith((".nii", ".nii.gz"))


def read_nifti(path: str | os.PathLike[str]) -> Study:
    """Read a CT volume in HU.

    Raises:
        DataError: if the file is missing, damaged, not 3D, has several values a voxel or values that are not finite.
        GeometryError: if its affine is not invertible or its unit of length is not mm.
    """
    source = Path(path)
    if not source.is_file():
        raise DataError(f"{source} does not exist")
    with open_nifti(source) as volume:
        unit = volume.header.get_xyzt_units()[0]
        # A fourth axis of one is what some tools write for a volume.
        if len(volume.shape) != 3 and volume.shape[3:] != (1,):
            raise DataError(f"{source} must be a 3D volume, got shape {volume.shape}")
        values = _unscaled(volume).reshape(volume.shape[:3], order="F")
    if unit not in ("mm", "unknown"):
        raise GeometryError(f"{source} must be in mm, got {unit}")
    return ct_study(source, values, volume.affine, "nifti")


@contextmanager
def open_nifti(path: Path) -> Iterator[SpatialImage]:
    """Open a NIfTI file; its values can be read inside the block only.

    Gzipped files go through isal, which unpacks about three times as fast as zlib.

    Raises:
        DataError: if the file, or what the block reads of it, is damaged.
    """
    with named_nifti_errors(f"{path} cannot be read as NIfTI"):
        if path.name.lower().endswith(".gz"):
            with igzip.open(path, "rb") as stream:
                yield (nib.Nifti2Image if _is_second_version(stream) else nib.Nifti1Image).from_stream(stream)
        else:
            yield nib.load(path)


def _is_second_version(stream: BinaryIO) -> bool:
    """Whether a file is of NIfTI-2, by the size of its header, which comes first."""
    size = stream.read(4)
    stream.seek(0)
    return nib.Nifti2Header.sizeof_hdr in (int.from_bytes(size, "little"), int.from_bytes(size, "big"))


def _unscaled(volume: SpatialImage) -> NDArray[np.generic]:
    """Values as they are stored where they are HU already, else scaled to float32."""
    stored = volume.dataobj
    if (stored.slope, stored.inter) == (1, 0):
        return np.asarray(stored.get_unscaled())
    return np.asarray(stored, dtype=np.float32)


def ct_study(path: Path, values: NDArray[np.generic], affine: NDArray[np.floating], form: Form) -> Study:
    """Study of a volume (i, j, k) of HU on a RAS-mm affine.

    Raises:
        DataError: if it has no voxels, several values a voxel or values that are not finite.
        GeometryError: if its affine is not invertible.
    """
    if 0 in values.shape:
        raise DataError(f"{path} must have voxels, got shape {values.shape}")
    if values.dtype.kind not in "biuf":
        names = values.dtype.names or (values.dtype,)
        raise DataError(f"{path} must hold one number a voxel, got {', '.join(map(str, names))}")
    # One sum tells: it is finite only if every value is.
    if values.dtype.kind == "f" and not np.isfinite(values.sum(dtype=np.float64)):
        raise DataError(f"{path} must have finite values, got NaN or infinity")
    try:
        checked = checked_affine(affine)
    except GeometryError as error:
        raise GeometryError(f"{path}: {error}") from error
    hu = torch.from_numpy(compact_hu(values))
    return Study(MetaTensor(hu[None], affine=torch.from_numpy(checked)), Source(form))


def write_nifti(
    path: str | os.PathLike[str],
    slabs: Iterable[NDArray[np.generic]],
    *,
    shape: tuple[int, ...],
    dtype: DTypeLike,
    affine: NDArray[np.floating],
) -> None:
    """Write a gzipped NIfTI from pieces.

    Args:
        path: file to write, ``.nii.gz``.
        slabs: consecutive pieces in the file's own order: the first axis runs fastest and the last slowest, each piece
            has whole leading axes. A single zero, repeated by ``np.broadcast_to``, is written without being looked at.
        shape: of the whole array, (i, j, k) or (i, j, k, channels).
        dtype: of the file.
        affine: RAS mm, (4, 4).

    Raises:
        ShapeError: if the pieces do not add up to the shape.
    """
    header = nib.Nifti1Header()
    header.set_data_shape(shape)
    header.set_data_dtype(dtype)
    header.set_xyzt_units("mm")
    header.set_qform(affine, code=_SCANNER_COORDINATES, strip_shears=True)
    header.set_sform(affine, code=_SCANNER_COORDINATES)
    header["magic"] = b"n+1"
    header["vox_offset"] = header.sizeof_hdr + 4
    written = 0
    with Path(path).open("wb") as file, GzipWriter(file) as stream:
        stream.write(np.frombuffer(header.binaryblock + bytes(4), dtype=np.uint8))
        for slab in slabs:
            written += slab.size
            values = np.asarray(slab, dtype=header.get_data_dtype())
            if not any(values.strides) and not values.flat[0]:
                stream.write_zeros(values.nbytes)
            else:
                stream.write(values.ravel(order="F").view(np.uint8))
    if written != np.prod(shape):
        raise ShapeError(f"slabs must hold {np.prod(shape)} values for shape {shape}, got {written}")
