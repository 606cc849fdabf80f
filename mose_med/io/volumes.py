"""Volumes of any values, images or masks, from the formats that annotation tools write: NIfTI, NRRD and MetaImage."""

from __future__ import annotations

import os
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryFile
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from mose_med.errors import DataError, GeometryError, no_file
from mose_med.geometry import LPS_TO_RAS, Affine, checked_affine
from mose_med.io.file_kinds import kind_of
from mose_med.io.nifti.file import read_nifti_volume
from mose_med.io.nifti.images import is_nifti, require_mm
from mose_med.io.nifti.transforms import NiftiTransform, NiftiTransforms, chosen_transform
from mose_med.io.study import NO_CODES

__all__ = ["VOLUME_SUFFIXES", "ItkContent", "Volume", "is_volume", "itk_content", "read_itk", "read_volume"]

_VALUES_FILE = re.compile(rb"^ElementDataFile\s*=\s*(.*)$", re.MULTILINE)

#: By either of which a MetaImage header says where the volume lies.
_META_PLACE = re.compile(rb"^(Offset|Position|Origin|TransformMatrix|Rotation|Orientation)\s*=", re.MULTILINE)
_META_END = b"ElementDataFile"
_META_BYTES = 1 << 16

_ITK_ERROR = re.compile(r"ERROR: (?:\w+\(0x[0-9a-f]+\): )?(.*)", re.DOTALL)
#: Lines of ITK and of its readers on stderr begin with these.
_LINES_OF_ITK = (b"Meta", b"   ideal = ", b"WARNING: In ", b"ERROR: In ", b"Warning: In ", b"\n")
_STDERR = 2
#: One read at a time redirects stderr.
_READING = threading.Lock()
_HEAD_BYTES = 4096
_ITK_MARKS = {".nrrd": b"NRRD0", ".nhdr": b"NRRD0", ".mha": b"ElementDataFile", ".mhd": b"ElementDataFile"}

VOLUME_SUFFIXES = (".nii", ".nii.gz", ".nrrd", ".nhdr", ".mha", ".mhd")


class Volume(NamedTuple):
    """Values in the type of the file, and where they lie.

    Attributes:
        array: (i, j, k).
        affine: of the indices, RAS mm.
        transforms: of a NIfTI file, those of its header.
        cropped: whether it may be a part of the grid of the image that it belongs to.
        no_place: what a header lacks that does not say where the volume lies in the patient; empty if it says it.
    """

    array: NDArray[np.generic]
    affine: Affine
    transforms: NiftiTransforms | None = None
    cropped: bool = False
    no_place: str = ""


def is_volume(path: str | os.PathLike[str]) -> bool:
    """Whether the name ends as that of a NIfTI, NRRD or MetaImage file does.

    Example:
        >>> is_volume("ct.MHD"), is_volume("study.zip")
        (True, False)
    """
    return Path(path).name.lower().endswith(VOLUME_SUFFIXES)


def read_volume(path: Path, transform: NiftiTransform = "auto") -> Volume:
    """Read a volume of one value per voxel.

    Args:
        path: of a format of :data:`VOLUME_SUFFIXES`.
        transform: of a NIfTI file, which of its transforms to take, as for :func:`~mose_med.io.read_ct`.

    Raises:
        DataError: if the file is missing, damaged, of another format or not a volume of numbers.
        GeometryError: if its affine is not invertible, its unit of length is not mm, or it lacks the transform.
    """
    if not is_volume(path):
        raise DataError(f"{path} must be one of {' '.join(VOLUME_SUFFIXES)}")
    if not path.is_file():
        raise DataError(no_file(path))
    volume = _read_with_nibabel(path, transform) if is_nifti(path) else _read_with_simpleitk(path)
    if volume.array.ndim == 4 and volume.array.shape[3] == 1:
        volume = volume._replace(array=volume.array[..., 0])
    if volume.array.ndim != 3 or volume.array.size == 0:
        raise DataError(f"{path} must be a 3D volume, got shape {volume.array.shape}")
    if volume.array.dtype.kind not in "biuf":
        raise DataError(f"{path} must hold one number per voxel, got {volume.array.dtype}")
    return volume._replace(affine=_checked(volume.affine, path))


def _checked(affine: Affine, path: Path | str) -> Affine:
    try:
        return checked_affine(affine)
    except GeometryError as error:
        raise GeometryError(f"{path}: {error}") from error


def _read_with_nibabel(path: Path, transform: NiftiTransform) -> Volume:
    volume = read_nifti_volume(path)
    require_mm(volume, str(path))
    try:
        affine = chosen_transform(volume.transforms, transform)
    except GeometryError as error:
        raise GeometryError(f"{path}: {error}") from error
    no_place = "" if volume.transforms.placed or transform == "centre" else NO_CODES
    return Volume(volume.array, affine, volume.transforms, no_place=no_place)


def _require_own_kind(path: Path) -> None:
    """Name the content of a file whose name is wrong; ITK would only say that it is unknown."""
    with path.open("rb") as file:
        head = file.read(_HEAD_BYTES)
    own = _ITK_MARKS[path.suffix.lower()]
    kind = kind_of(head)
    if own not in head and kind is not None:
        raise DataError(f"{path} cannot be read: it is {kind}")


def _require_values_file(path: Path) -> None:
    """For a MetaImage header; ITK would report the missing file on stderr, without its name."""
    if path.suffix.lower() != ".mhd":
        return
    match = _VALUES_FILE.search(path.read_bytes())
    name = match[1].decode(errors="replace").strip() if match else "LOCAL"
    if not name.startswith("LIST") and "%" not in name and name != "LOCAL" and not (path.parent / name).is_file():
        raise DataError(f"{path} cannot be read: it says that its values are in {name}, which does not exist")


def _read_with_simpleitk(path: Path) -> Volume:
    content = read_itk(path)
    components = content.array.shape[3]
    if components != 1:
        size = content.array.shape[:3]
        raise DataError(f"{path} must be a 3D volume of one value per voxel, got size {size} and {components} values")
    return Volume(content.array[..., 0], content.affine, no_place=content.no_place)


class ItkContent(NamedTuple):
    """Values (i, j, k, components) of an NRRD or MetaImage file, their RAS-mm affine, and more of the header.

    ``no_place`` is that of a :class:`Volume`.
    """

    array: NDArray[np.generic]
    affine: Affine
    metadata: dict[str, str]
    no_place: str = ""


def read_itk(path: Path) -> ItkContent:
    """Read an NRRD or MetaImage volume, of one value per voxel or of several.

    Raises:
        DataError: if the file is missing, damaged, of another format or not 3D.
        GeometryError: if its affine is not invertible.
    """
    import SimpleITK  # here, since few inputs need it

    if not path.is_file():
        raise DataError(no_file(path))
    _require_own_kind(path)
    _require_values_file(path)
    try:
        with _without_lines_of_itk():
            image = SimpleITK.ReadImage(str(path))
    except RuntimeError as error:
        raise DataError(f"{path} cannot be read: {_reason(error)}") from error
    if image.GetDimension() != 3:
        raise DataError(f"{path} must be a 3D volume of one value per voxel, got size {image.GetSize()}")
    content = itk_content(image, str(path))
    return content._replace(no_place=_no_place(path, content))


def _no_place(path: Path, content: ItkContent) -> str:
    """What a header lacks, without which ITK takes the axes of the file for those of the patient, from the origin."""
    if path.suffix.lower() in (".nrrd", ".nhdr"):
        told = "NRRD_space" in content.metadata or content.affine[:3, 3].any()
        return "" if told else "its header has neither space nor space origin"
    with path.open("rb") as file:
        head, end, _ = file.read(_META_BYTES).partition(_META_END)
    return "its header has neither Offset nor TransformMatrix" if end and not _META_PLACE.search(head) else ""


def itk_content(image: Any, source: str) -> ItkContent:
    """What a SimpleITK image of three dimensions holds.

    Args:
        image: of SimpleITK, of one value per voxel or of several.
        source: what it is from, for messages.

    Raises:
        GeometryError: if its affine is not invertible.
    """
    import SimpleITK

    affine = np.eye(4)
    affine[:3, :3] = np.reshape(image.GetDirection(), (3, 3)) * image.GetSpacing()
    affine[:3, 3] = image.GetOrigin()
    array = SimpleITK.GetArrayFromImage(image)
    array = array.reshape(*array.shape[:3], -1).transpose(2, 1, 0, 3)
    return ItkContent(
        array, _checked(LPS_TO_RAS @ affine, source), {key: image.GetMetaData(key) for key in image.GetMetaDataKeys()}
    )


def _reason(error: Exception) -> str:
    """What ITK says is wrong, in one line."""
    text = str(error).strip() or type(error).__name__
    # ITK gives the last error of the system, which is not of this file.
    if text.splitlines()[-1].startswith("Reason: "):
        return "it is damaged or cut short"
    match = _ITK_ERROR.search(text)
    return " ".join((match[1] if match else text.splitlines()[-1]).split())


@contextmanager
def _without_lines_of_itk() -> Iterator[None]:
    """Suppress what ITK itself writes to stderr; output of others still gets there."""
    with _READING, TemporaryFile() as written:
        stderr = os.dup(_STDERR)
        os.dup2(written.fileno(), _STDERR)
        try:
            yield
        finally:
            os.dup2(stderr, _STDERR)
            os.close(stderr)
            written.seek(0)
            for line in written:
                if not line.startswith(_LINES_OF_ITK):
                    os.write(_STDERR, line)
