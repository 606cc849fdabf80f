"""The files of a DICOM input: a folder, a zip archive, zip archives within either, or one file of many slices.

Archives are read in place: nothing of them is unpacked to disk. Folders and files behind links are read, each once.
"""

from __future__ import annotations

import io
import zipfile
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from functools import partial
from pathlib import Path, PurePosixPath
from typing import BinaryIO, NamedTuple, cast

from mose_med.errors import DataError, no_file
from mose_med.files.dicom_signature import HEAD_BYTES, begins_as_dicom
from mose_med.files.file_tree import files_below
from mose_med.files.zip_files import named_zip_errors

__all__ = ["DicomFile", "open_files"]


class DicomFile(NamedTuple):
    """One file of an input.

    Attributes:
        name: within the input.
        open: opens it, whole and checked.
        open_head: opens it for its beginning, where that is faster; an archive's file is then unpacked as it is read.
    """

    name: str
    open: Callable[[], BinaryIO]
    open_head: Callable[[], BinaryIO] | None = None

    @property
    def folder(self) -> str:
        """Folder, or archive, of the file within the input."""
        return str(PurePosixPath(self.name).parent)


@contextmanager
def open_files(path: Path) -> Iterator[list[DicomFile]]:
    """Files below a folder or in a zip archive, sorted by name; names in an inner archive begin with its name.

    A DICOM file stands for itself.

    Raises:
        DataError: if there is no such folder, archive or file, an archive within is damaged, or a link leads nowhere.
    """
    with ExitStack() as stack:
        if path.is_dir():
            files = _files_of_folder(path)
        elif path.is_file() and zipfile.is_zipfile(path):
            with _unpacking(str(path)):
                archive = stack.enter_context(zipfile.ZipFile(path))
            files = _members(archive)
        elif path.is_file() and _is_dicom(path):
            files = [DicomFile(path.name, _opener(path))]
        elif path.exists():
            raise DataError(f"{path} is neither a folder nor a zip archive of DICOM files nor a volume (.nii.gz, ..)")
        else:
            raise DataError(no_file(path))
        yield [inner for file in files for inner in _without_archive(file, stack)]


def _files_of_folder(folder: Path) -> list[DicomFile]:
    found = files_below(folder)
    broken = next((path for path in found.broken_links if not path.name.startswith(".")), None)
    if broken is not None:
        raise DataError(f"{broken.relative_to(folder).as_posix()} is a broken link: restore its target, or remove it")
    return [DicomFile(path.relative_to(folder).as_posix(), _opener(path)) for path in found.files]


def _is_dicom(path: Path) -> bool:
    with path.open("rb") as stream:
        return begins_as_dicom(stream.read(HEAD_BYTES))


def _without_archive(file: DicomFile, stack: ExitStack) -> list[DicomFile]:
    """The file itself, or what it holds where it is an archive."""
    # macOS keeps notes on a file under its name with these two characters before it.
    if not file.name.lower().endswith(".zip") or PurePosixPath(file.name).name.startswith("._"):
        return [file]
    with _unpacking(file.name):
        archive = stack.enter_context(zipfile.ZipFile(stack.enter_context(file.open())))
    members = [member._replace(name=f"{file.name}/{member.name}") for member in _members(archive)]
    return [inner for member in members for inner in _without_archive(member, stack)]


def _members(archive: zipfile.ZipFile) -> list[DicomFile]:
    names = sorted(entry.filename for entry in archive.infolist() if not entry.is_dir())
    return [DicomFile(name, partial(_whole, archive, name), partial(_beginning, archive, name)) for name in names]


def _opener(path: Path) -> Callable[[], BinaryIO]:
    return lambda: path.open("rb")


def _whole(archive: zipfile.ZipFile, name: str) -> BinaryIO:
    with _unpacking(name):
        return io.BytesIO(archive.read(name))


def _beginning(archive: zipfile.ZipFile, name: str) -> BinaryIO:
    with _unpacking(name):
        return cast("BinaryIO", archive.open(name))


def _unpacking(name: str) -> AbstractContextManager[None]:
    return named_zip_errors(f"{name} cannot be unpacked")
