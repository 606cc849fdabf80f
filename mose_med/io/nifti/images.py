"""NIfTI volumes: CT in, maps out.

Files are written slab by slab, so that a map never has to be in memory as a whole; the gzip header carries no time and
no name, so the same values give the same bytes.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Iterable
from pathlib import Path

import nibabel as nib
import numpy as np
import torch
from numpy.typing import DTypeLike, NDArray

from mose_med.ct_image import CtImage
from mose_med.errors import DataError, GeometryError, ShapeError
from mose_med.geometry import Affine, checked_affine, spacing_mm
from mose_med.io.hu_volume import compact_hu
from mose_med.io.nifti.file import NiftiVolume, read_nifti_volume
from mose_med.io.nifti.gzip_writer import GzipWriter
from mose_med.io.nifti.header import in_steps
from mose_med.io.nifti.transforms import NiftiTransform, NiftiTransforms, chosen_transform
from mose_med.io.study import NO_CODES, Form, Source, Study

__all__ = ["ct_study", "is_nifti", "nifti_study", "read_nifti", "require_mm", "warn_of_transforms", "write_nifti"]

_LOGGER = logging.getLogger(__name__)
_SCANNER_COORDINATES = 1
#: How far two transforms of a header may put a voxel apart, as a share of the smallest spacing.
_SAME_PLACE = 0.1


def is_nifti(path: str | os.PathLike[str]) -> bool:
    """Whether the name ends as a NIfTI file's does.

    Example:
        >>> is_nifti("ct.nii.gz"), is_nifti("study.zip")
        (True, False)
    """
    return Path(path).name.lower().endswith((".nii", ".nii.gz"))


def read_nifti(path: str | os.PathLike[str], transform: NiftiTransform = "auto") -> Study:
    """Read a CT volume in HU.

    Args:
        path: of the file.
        transform: which of its transforms to take: ``auto``, the sform where it has one; ``sform``, ``qform``, or
            ``centre``, the centre of the volume for the origin.

    Raises:
        ConfigError: if there is no such transform.
        DataError: if the file is missing, damaged, not 3D, has several values a voxel or values that are not finite.
        GeometryError: if its affine is not invertible, its unit of length is not mm, or it lacks the transform.
    """
    return nifti_study(read_nifti_volume(Path(path)), str(path), transform)


def nifti_study(volume: NiftiVolume, source: str, transform: NiftiTransform = "auto") -> Study:
    """Study of what a NIfTI file holds.

    Args:
        volume: in HU.
        source: what it is from, for messages.
        transform: as for :func:`read_nifti`.

    Raises:
        ConfigError: if there is no such transform.
        DataError: if it is not 3D, has several values a voxel or values that are not finite.
        GeometryError: if its affine is not invertible, its unit of length is not mm, or it lacks the transform.
    """
    # A fourth axis of one is what some tools write for a volume.
    shape = volume.array.shape
    if len(shape) != 3 and shape[3:] != (1,):
        raise DataError(f"{source} must be a 3D volume, got shape {shape}")
    require_mm(volume, source)
    try:
        affine = checked_affine(chosen_transform(volume.transforms, transform))
    except GeometryError as error:
        raise GeometryError(f"{source}: {error}") from error
    warn_of_transforms(volume.transforms, affine, shape[:3], transform)
    study = ct_study(source, volume.array.reshape(shape[:3], order="F"), affine, "nifti")
    no_place = "" if volume.transforms.placed or transform == "centre" else NO_CODES
    return study._replace(transforms=volume.transforms, no_place=no_place)


def require_mm(volume: NiftiVolume, source: str) -> None:
    """Refuse a volume whose unit of length is another.

    Raises:
        GeometryError: naming the source and the unit.
    """
    if volume.unit not in ("mm", "unknown"):
        raise GeometryError(f"{source} must be in mm, got {volume.unit}")


def warn_of_transforms(
    transforms: NiftiTransforms,
    affine: Affine,
    shape: tuple[int, ...],
    choice: NiftiTransform,
    what: str = "the NIfTI file",
) -> None:
    """Warn if a file does not define the position of its voxels.

    Args:
        transforms: of its header.
        affine: that was chosen of them.
        shape: (i, j, k).
        choice: by which it was chosen.
        what: the file, for the message.
    """
    if not transforms.placed:
        _LOGGER.warning(
            "%s has no position in the patient (%s): positions are from the centre of the volume, and which side is "
            "left is not known",
            what,
            NO_CODES,
        )
    apart = transforms.apart_mm(shape)
    if apart > _SAME_PLACE * spacing_mm(affine).min():
        taken = "the centre of the volume" if choice == "centre" else "the qform" if choice == "qform" else "the sform"
        _LOGGER.warning(
            "the sform and the qform of %s lie up to %.1f mm apart: %s is taken (--nifti-transform takes another; "
            "viewers built on ITK may show the qform)",
            what,
            apart,
            taken,
        )


def ct_study(path: Path | str, values: NDArray[np.generic], affine: NDArray[np.floating], form: Form) -> Study:
    """Study of a volume (i, j, k) of HU on a RAS-mm affine.

    Raises:
        DataError: if it has no voxels, several values a voxel or values that are not finite.
        GeometryError: if its affine is not invertible.
    """
    if 0 in values.shape:
        raise DataError(f"{path} must have voxels, got shape {values.shape}")
    if values.dtype.kind not in "biuf":
        names = values.dtype.names or (values.dtype,)
        raise DataError(f"{path} must hold one number per voxel, got {', '.join(map(str, names))}")
    # One sum is enough: it is finite only if every value is.
    if values.dtype.kind == "f" and not np.isfinite(values.sum(dtype=np.float64)):
        raise DataError(f"{path} must have finite values, got NaN or infinity")
    try:
        checked = checked_affine(affine)
    except GeometryError as error:
        raise GeometryError(f"{path}: {error}") from error
    hu = torch.from_numpy(compact_hu(values))
    return Study(CtImage(hu[None], torch.from_numpy(checked)), Source(form))


def write_nifti(
    path: str | os.PathLike[str],
    slabs: Iterable[NDArray[np.generic]],
    *,
    shape: tuple[int, ...],
    dtype: DTypeLike,
    affine: NDArray[np.floating],
    transforms: NiftiTransforms | None = None,
    step: float | None = None,
) -> None:
    """Write a gzipped NIfTI from pieces.

    Args:
        path: file to write, ``.nii.gz``.
        slabs: consecutive pieces in the file's own order: the first axis runs fastest and the last slowest, each piece
            has whole leading axes. A single zero, repeated by ``np.broadcast_to``, is written without being looked at.
        shape: of the whole array, (i, j, k) or (i, j, k, channels).
        dtype: of the file.
        affine: RAS mm, (4, 4).
        transforms: of the file whose grid this is, to be written as they stand there; None writes the affine as both.
        step: of values that are stored as whole numbers of steps, the nearest ones, so that a value is off by half a
            step at most; the header carries it (``scl_slope``), so that readers give the values. None stores them as
            they are.

    Raises:
        ShapeError: if the pieces do not add up to the shape.
    """
    header = nib.Nifti1Header()
    header.set_data_shape(shape)
    header.set_data_dtype(dtype)
    header.set_xyzt_units("mm")
    header.set_qform(affine, code=_SCANNER_COORDINATES, strip_shears=True)
    header.set_sform(affine, code=_SCANNER_COORDINATES)
    if transforms is not None:
        transforms.write_to(header, checked_affine(affine))
    if step is not None:
        header.set_slope_inter(step, 0)
    header["magic"] = b"n+1"
    header["vox_offset"] = header.sizeof_hdr + 4
    written = 0
    with Path(path).open("wb") as file, GzipWriter(file, header.get_data_dtype()) as stream:
        stream.write(np.frombuffer(header.binaryblock + bytes(4), dtype=np.uint8))
        for slab in slabs:
            written += slab.size
            stored = header.get_data_dtype()
            if not any(slab.strides) and not slab.flat[0]:
                stream.write_zeros(slab.size * stored.itemsize)
            else:
                values = slab if step is None else in_steps(slab, step)
                stream.write(np.asarray(values, dtype=stored).ravel(order="F").view(np.uint8))
    if written != np.prod(shape):
        raise ShapeError(f"slabs must hold {np.prod(shape)} values for shape {shape}, got {written}")
