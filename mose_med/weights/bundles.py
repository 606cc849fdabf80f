"""Checks a bundle against its list of SHA-256."""

from __future__ import annotations

import hashlib
import zipfile
from collections.abc import Callable, Iterable
from pathlib import Path, PurePosixPath
from typing import IO

from mose_med.errors import DataError
from mose_med.files.zip_files import named_zip_errors

__all__ = ["SUMS_NAME", "verify_folder", "verify_zip"]

#: List of the SHA-256 of every other file, as ``sha256sum --check`` reads it.
SUMS_NAME = "SHA256SUMS"


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
            raise DataError(f"bundle {bundle} is damaged: {name} has a different SHA-256 from the one in {SUMS_NAME}")


def _listed(sums: str) -> Iterable[tuple[str, str]]:
    for line in sums.splitlines():
        digest, _, name = line.partition("  ")
        yield digest, name
