"""Zip files of bundles: the same content gives the same bytes, and a list of SHA-256 says whether it is whole.

Members are stored, not compressed: weights do not shrink, and the bytes depend on no version of a compressor.
"""

from __future__ import annotations

import hashlib
import zipfile
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path, PurePosixPath
from typing import IO

from mose_med.errors import DataError
from mose_med.files.whole_files import remove_left_over, written_whole
from mose_med.files.zip_files import named_zip_errors

__all__ = ["SUMS_NAME", "verify_folder", "verify_zip", "write_archive"]

#: List of the SHA-256 of every other file, as ``sha256sum --check`` reads it.
SUMS_NAME = "SHA256SUMS"
_EPOCH = (1980, 1, 1, 0, 0, 0)  # the earliest that a zip file can say


def write_archive(target: Path, root: str, files: Mapping[str, bytes]) -> None:
    """Write files and the list of their SHA-256 below one folder of a zip file, whole or not at all.

    Args:
        target: the zip file; its folder is made if needed.
        root: name of the folder inside.
        files: content by path below ``root``.
    """
    sums = "".join(f"{hashlib.sha256(files[name]).hexdigest()}  {name}\n" for name in sorted(files))
    target.parent.mkdir(parents=True, exist_ok=True)
    remove_left_over(target)
    with (
        written_whole(target, durable=True) as temporary,
        zipfile.ZipFile(temporary, "w", zipfile.ZIP_STORED) as archive,
    ):
        for name, content in sorted({**files, SUMS_NAME: sums.encode()}.items()):
            member = zipfile.ZipInfo(f"{root}/{name}", date_time=_EPOCH)
            member.create_system, member.external_attr = 3, 0o644 << 16
            archive.writestr(member, content)


def verify_zip(path: Path) -> None:
    """Compare every member of a zip file with its list of SHA-256, if there is one.

    Raises:
        DataError: if a file is missing or has changed, or the zip file cannot be read.
    """
    with named_zip_errors(f"bundle {path} cannot be read"), zipfile.ZipFile(path) as archive:
        lists = [PurePosixPath(name) for name in archive.namelist() if PurePosixPath(name).name == SUMS_NAME]
        for found in lists:
            sums = archive.read(str(found)).decode()
            _compare(path, sums, lambda name, root=found.parent: archive.open(str(root / name)))  # type: ignore[misc]


def verify_folder(folder: Path) -> None:
    """Likewise for an unpacked bundle."""
    sums = folder / SUMS_NAME
    if sums.is_file():
        _compare(folder, sums.read_text(encoding="utf-8"), lambda name: (folder / name).open("rb"))


def _compare(bundle: Path, sums: str, open_file: Callable[[str], IO[bytes]]) -> None:
    for digest, name in _listed(sums):
        try:
            with open_file(name) as stream:
                found = hashlib.file_digest(stream, "sha256").hexdigest()  # type: ignore[arg-type]
        except (KeyError, FileNotFoundError):
            raise DataError(f"bundle {bundle} is damaged: {name} of {SUMS_NAME} is missing") from None
        if found != digest:
            raise DataError(f"bundle {bundle} is damaged: {name} has another SHA-256 than {SUMS_NAME} says")


def _listed(sums: str) -> Iterable[tuple[str, str]]:
    for line in sums.splitlines():
        digest, _, name = line.partition("  ")
        yield digest, name
