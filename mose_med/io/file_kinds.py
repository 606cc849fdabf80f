"""What a file is by its first bytes, regardless of its name."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO, cast

from isal import igzip

__all__ = ["is_gzipped", "kind_of", "unpacked"]

_GZIP = b"\x1f\x8b"
_KINDS = (
    (b"BZh", "compressed by bzip2: unpack it"),
    (b"\xfd7zXZ", "compressed by xz: unpack it"),
    (b"\x28\xb5\x2f\xfd", "compressed by zstd: unpack it"),
    (b"PK\x03\x04", "a zip archive: unpack it"),
    (b"NRRD", "an NRRD file: let its name end in .nrrd"),
    (b"\x89HDF", "an HDF5 file: convert it"),
    (b"\x89PNG", "a PNG picture"),
    (b"\xff\xd8\xff", "a JPEG picture"),
    (b"%PDF", "a PDF document"),
    (b"version https://git-lfs", "a pointer of Git LFS: fetch the file itself"),
    (b"<", "a web page or XML: the download went wrong"),
)
_NIFTI = (b"n+1\0", b"n+2\0")
_NIFTI_MAGIC = ((344, 348), (4, 8))
_DICOM_MARK = slice(128, 132)


def is_gzipped(path: Path) -> bool:
    """Whether the content is gzipped."""
    with path.open("rb") as file:
        return file.read(len(_GZIP)) == _GZIP


@contextmanager
def unpacked(path: Path) -> Iterator[BinaryIO]:
    """The content, unpacked where it is gzipped: through isal, about three times as fast as zlib."""
    if is_gzipped(path):
        with igzip.open(path, "rb") as stream:
            yield cast("BinaryIO", stream)
    else:
        with path.open("rb") as file:
            yield file


def kind_of(head: bytes) -> str | None:
    """The kind of file that begins like this, with advice; None if unknown.

    Example:
        >>> kind_of(b"NRRD0004")
        'an NRRD file: let its name end in .nrrd'
    """
    if head[_DICOM_MARK] == b"DICM":
        return "a DICOM file: let its name end in .dcm"
    if any(head[first:last] in _NIFTI for first, last in _NIFTI_MAGIC):
        return "a NIfTI file: let its name end in .nii"
    if head.startswith(_GZIP):
        return "gzipped: unpack it"
    if b"ElementDataFile" in head or head.startswith(b"ObjectType"):
        return "a MetaImage file: let its name end in .mha"
    return next((kind for mark, kind in _KINDS if head.startswith(mark)), None)
