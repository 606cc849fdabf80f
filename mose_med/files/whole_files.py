"""Atomic writing of files and folders: they are complete or absent. Light to import, without PyTorch."""

from __future__ import annotations

import errno
import glob
import json
import os
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from mose_med.errors import ConfigError

__all__ = [
    "folder_written_whole",
    "keep_as",
    "remove_left_over",
    "require_replaceable",
    "write_json",
    "written_whole",
]

#: Errors of file systems that cannot sync a folder.
_CANNOT_SYNC = (errno.EINVAL, errno.ENOTSUP, errno.ENOSYS)


@contextmanager
def written_whole(target: Path, *, durable: bool = False) -> Iterator[Path]:
    """Yield a temporary file in the folder of ``target``, which replaces it on success.

    Several processes may write the same file at once: the last one's stays.

    Args:
        target: the file.
        durable: it is on the disk, and its name with it, when the context ends: a power failure loses neither.
    """
    temporary = _temporary_name(target)
    try:
        yield temporary
        if durable:
            _sync(temporary)
        temporary.replace(target)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    if durable:
        _sync_folder(target.parent)


def write_json(path: Path, value: Any) -> None:
    """Write ``value`` as readable JSON, atomically, also where several processes write the same file."""
    with written_whole(path) as temporary:
        temporary.write_text(json.dumps(value, indent=2) + "\n", encoding="utf-8")


@contextmanager
def folder_written_whole(target: Path, *, overwrite: bool, temporary: Path | None = None) -> Iterator[Path]:
    """Yield a temporary folder, which replaces ``target`` on success.

    Args:
        target: the folder; an empty one may be there already.
        overwrite: replace a folder that is there.
        temporary: to write to, in the folder of ``target``; a generated name if None.

    Raises:
        ConfigError: if ``target`` is a mount point.
        FileExistsError: on leaving, if the folder is there and may not be overwritten.
    """
    require_replaceable(target)
    temporary = temporary or _temporary_name(target)
    temporary.mkdir()
    try:
        yield temporary
        _take_place(temporary, target, overwrite=overwrite)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def require_replaceable(folder: Path) -> None:
    """Refuse a folder that no other can be renamed to.

    Raises:
        ConfigError: if it is a mount point.
    """
    if folder.resolve().is_mount():
        raise ConfigError(
            f"output folder {folder} is a mount point, which cannot be replaced by a finished folder: "
            "name a folder inside it"
        )


def _take_place(temporary: Path, folder: Path, *, overwrite: bool) -> None:
    """Rename to a free name; an existing folder is replaced only if it may be overwritten."""
    try:
        temporary.rename(folder)
    except OSError as error:
        if error.errno not in (errno.ENOTEMPTY, errno.EEXIST):
            raise
        if not overwrite:
            raise FileExistsError(errno.EEXIST, "the folder already exists", folder.name) from error
        old = temporary.with_name(f"{temporary.stem}.old{temporary.suffix}")
        folder.rename(old)
        temporary.rename(folder)
        shutil.rmtree(old, ignore_errors=True)


def keep_as(source: Path, target: Path) -> None:
    """Make ``target`` a second name of a file, or a copy where there are no hard links; ``source`` stays."""
    temporary = _temporary_name(target)
    try:
        try:
            os.link(source, temporary)
        except OSError:
            shutil.copyfile(source, temporary)
            _sync(temporary)
        temporary.replace(target)
    finally:
        temporary.unlink(missing_ok=True)  # it stays where it was if the target was a name of the same file


def _temporary_name(target: Path) -> Path:
    return target.with_name(f".{target.name}.{secrets.token_hex(4)}.tmp")


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _sync_folder(folder: Path) -> None:
    try:
        _sync(folder)
    except OSError as error:
        if error.errno not in _CANNOT_SYNC:
            raise


def remove_left_over(target: Path) -> None:
    """Delete what killed processes left of ``target``; no process may be writing it now."""
    for left_over in target.parent.glob(f".{glob.escape(target.name)}.*.tmp"):
        left_over.unlink()
