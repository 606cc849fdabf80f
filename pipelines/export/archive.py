"""Zip files of bundles: the same content gives the same bytes; a list of SHA-256 is among it.

Members are stored, not compressed: weights do not shrink, and the bytes depend on no version of a compressor.
"""

from __future__ import annotations

import hashlib
import zipfile
from collections.abc import Mapping
from pathlib import Path

from mose_med.files.whole_files import remove_left_over, written_whole
from mose_med.weights.bundles import SUMS_NAME

__all__ = ["write_archive"]

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
