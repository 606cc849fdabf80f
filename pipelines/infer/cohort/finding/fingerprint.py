"""Whether a study's files are still those that were inferred, without reading them."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator

from mose_med.files.file_tree import FolderWalk, is_folder
from pipelines.common.data_files import files_of_image
from pipelines.infer.cohort.finding.entries import Entry

__all__ = ["file_lines", "fingerprint"]


def fingerprint(entry: Entry) -> str:
    """Hash of names, sizes and times of change of the study's files and its nodule list; empty if the study is gone.

    Of an image whose header is a separate file, the files with its values count too.
    """
    digest = hashlib.sha256()
    for path in (entry.source, entry.nodules, entry.lung_mask):
        if path is None:
            continue
        try:
            for line in sorted(file_lines(path)):
                digest.update(line.encode("utf-8", "surrogateescape"))
        except OSError:
            return ""
    return digest.hexdigest()


def file_lines(path: str) -> Iterator[str]:
    """Name, size and time of change of a file or of all files below a folder; links are followed, once.

    Raises:
        OSError: if one is gone.
    """
    if not os.path.isdir(path):
        for number, file in enumerate(files_of_image(path)):
            yield _line(os.path.basename(file) if number else "", os.stat(file))
        return
    walk = FolderWalk(path, hidden=True)
    for folder in walk:
        with os.scandir(folder.path) as entries:
            for entry in entries:
                if is_folder(entry):
                    walk.add(folder, entry.name, is_link=entry.is_symlink())
                else:
                    yield _line(os.path.relpath(entry.path, path), entry.stat())


def _line(name: str, status: os.stat_result) -> str:
    return f"{name}\0{status.st_size}\0{status.st_mtime_ns}\n"
