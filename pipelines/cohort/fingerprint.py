"""Whether a study's files are still those that were inferred, told without reading them."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator

from pipelines.cohort.entries import Entry

__all__ = ["fingerprint"]


def fingerprint(entry: Entry) -> str:
    """Hash of names, sizes and times of change of the study's files and its nodule list; empty if the study is gone."""
    digest = hashlib.sha256()
    for path in (entry.source, entry.nodules, entry.lung_mask):
        if path is None:
            continue
        try:
            for line in sorted(_files(path)):
                digest.update(line.encode("utf-8", "surrogateescape"))
        except OSError:
            return ""
    return digest.hexdigest()


def _files(path: str) -> Iterator[str]:
    if not os.path.isdir(path):
        yield _line("", os.stat(path))
        return
    waiting = [path]
    while waiting:
        with os.scandir(waiting.pop()) as entries:
            for entry in entries:
                if entry.is_dir(follow_symlinks=False):
                    waiting.append(entry.path)
                else:
                    yield _line(os.path.relpath(entry.path, path), entry.stat())


def _line(name: str, status: os.stat_result) -> str:
    return f"{name}\0{status.st_size}\0{status.st_mtime_ns}\n"
