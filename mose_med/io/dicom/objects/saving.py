"""DICOM objects as files; large ones deflated as a whole.

Frames of single bits or floats, and the items of a report, cannot be compressed alone. Few viewers fail to read the
deflated syntax, but some do: small objects stay as they are, and whatever is sent to an archive or a node is inflated
first (:func:`read_to_send`).
"""

from __future__ import annotations

import copy
from collections.abc import Iterator
from contextlib import contextmanager
from io import BytesIO, RawIOBase
from pathlib import Path
from typing import Any, BinaryIO

import pydicom
from isal import isal_zlib
from pydicom.filebase import DicomIO
from pydicom.filewriter import write_dataset, write_file_meta_info
from pydicom.uid import DeflatedExplicitVRLittleEndian, ExplicitVRLittleEndian

from mose_med.io.dicom.files import without_remarks

__all__ = ["LARGE_BYTES", "LARGE_REPORT_BYTES", "read_to_send", "save_object"]

#: Frames that take more than this, uncompressed, are deflated.
LARGE_BYTES = 8 << 20
#: A report that takes more than this is deflated, to about a fifteenth.
LARGE_REPORT_BYTES = 256 << 10


def save_object(dataset: pydicom.Dataset, path: Path) -> None:
    """Write an object into a new file; deflated piece by piece, since pydicom would hold the whole content twice."""
    if dataset.file_meta.TransferSyntaxUID == ExplicitVRLittleEndian:
        if "ContentSequence" in dataset:
            # Its size is known when it is written, which takes as long as making it.
            content = BytesIO()
            write_dataset(_explicit(content), dataset)
            if content.tell() > LARGE_REPORT_BYTES:
                with _deflating(dataset, path) as deflating:
                    deflating.write(content.getbuffer())
                return
        elif _bytes_of_frames(dataset) > LARGE_BYTES:
            with _deflating(dataset, path) as deflating:
                write_dataset(_explicit(deflating), dataset)
            return
    dataset.save_as(path, enforce_file_format=True)


def read_to_send(path: Path) -> pydicom.FileDataset:
    """An object in a form that nodes and archives accept: not deflated; frames may be compressed."""
    with without_remarks():
        dataset = pydicom.dcmread(path)
    if dataset.file_meta.TransferSyntaxUID.is_deflated:
        dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    return dataset


def _bytes_of_frames(dataset: pydicom.Dataset) -> int:
    """Bytes of the frames of an image with several frames; 0 for others."""
    bits = dataset.get("BitsAllocated", 0) * dataset.get("NumberOfFrames", 0)
    return int(bits) * int(dataset.get("Rows", 0)) * int(dataset.get("Columns", 0)) // 8


@contextmanager
def _deflating(dataset: pydicom.Dataset, path: Path) -> Iterator[_Deflating]:
    """A new file with the meta information of an object; what is written into it is deflated."""
    meta = copy.deepcopy(dataset.file_meta)
    meta.TransferSyntaxUID = DeflatedExplicitVRLittleEndian
    with path.open("wb") as file:
        file.write(bytes(128) + b"DICM")
        write_file_meta_info(_explicit(file), meta)
        deflating = _Deflating(file)
        yield deflating
        deflating.finish()


def _explicit(stream: Any) -> DicomIO:
    """A stream that elements are written to, in explicit VR and little endian."""
    elements = DicomIO(stream)
    elements.is_implicit_VR, elements.is_little_endian = False, True
    return elements


class _Deflating(RawIOBase):
    """Deflates what is written; its position is that of the content."""

    def __init__(self, file: BinaryIO) -> None:
        super().__init__()
        self._file, self._position, self._size = file, 0, 0
        self._deflate = isal_zlib.compressobj(1, wbits=-15)

    def write(self, content: Any) -> int:
        """Write bytes."""
        self._position += len(content)
        self._put(self._deflate.compress(content))
        return len(content)

    def tell(self) -> int:
        """Number of bytes written so far."""
        return self._position

    def finish(self) -> None:
        """Write what is left, and make the length even."""
        self._put(self._deflate.flush())
        self._put(bytes(self._size % 2))

    def _put(self, deflated: bytes) -> None:
        self._size += self._file.write(deflated)
