"""Files that are there whole or not at all: light to import, without PyTorch."""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

__all__ = ["remove_left_over", "written_whole"]


@contextmanager
def written_whole(target: Path) -> Iterator[Path]:
    """Give a temporary file beside ``target`` to write to, which takes its place if all goes well.

    Several processes may write the same file at once: the last one's stays.
    """
    temporary = target.with_name(f".{target.name}.{secrets.token_hex(4)}.tmp")
    try:
        yield temporary
        temporary.replace(target)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def remove_left_over(target: Path) -> None:
    """Delete what processes that were killed while they wrote ``target`` have left; none may be writing it now."""
    for left_over in target.parent.glob(f".{target.name}.*.tmp"):
        left_over.unlink()
