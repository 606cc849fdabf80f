"""Files that are there whole or not at all: light to import, without PyTorch."""

from __future__ import annotations

import errno
import os
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

__all__ = ["keep_as", "remove_left_over", "written_whole"]

#: What file systems say that cannot sync a folder.
_CANNOT_SYNC = (errno.EINVAL, errno.ENOTSUP, errno.ENOSYS)


@contextmanager
def written_whole(target: Path, *, durable: bool = False) -> Iterator[Path]:
    """Give a temporary file beside ``target`` to write to, which takes its place if all goes well.

    Several processes may write the same file at once: the last one's stays.

    Args:
        target: the file.
        durable: it is on the disk, and its name with it, when the context ends: a power failure loses neither.
    """
    temporary = _beside(target)
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


def keep_as(source: Path, target: Path) -> None:
    """Make ``target`` a second name of a file, or a copy where there are no hard links; ``source`` stays."""
    temporary = _beside(target)
    try:
        try:
            os.link(source, temporary)
        except OSError:
            shutil.copyfile(source, temporary)
            _sync(temporary)
        temporary.replace(target)
    finally:
        temporary.unlink(missing_ok=True)  # it stays where it was if the target was a name of the same file


def _beside(target: Path) -> Path:
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
    """Delete what processes that were killed while they wrote ``target`` have left; none may be writing it now."""
    for left_over in target.parent.glob(f".{target.name}.*.tmp"):
        left_over.unlink()
