"""What was measured once on this machine, as small JSON files in the user's cache folder."""

from __future__ import annotations

import json
import logging
import os
import secrets
from collections.abc import Callable
from pathlib import Path
from typing import Any

from platformdirs import user_cache_path

__all__ = ["kept_once"]

_LOGGER = logging.getLogger(__name__)


def kept_once(name: str, find: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    """What was found under a name, now or at any time before.

    What cannot be kept is found again the next time; what several processes find at once is what the first one kept.

    Args:
        name: of the file below the cache folder, without its ending, with ``/`` between folders.
        find: called if nothing is kept, or nothing that can be read.
    """
    path = user_cache_path("mose_med", appauthor=False) / f"{name}.json"
    kept = _read(path)
    if kept is not None:
        return kept
    found = find()
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        _keep(path, found)
    except OSError as error:
        _LOGGER.debug("%s cannot be kept: %s", name, error)
        return found
    return _read(path) or found


def _keep(path: Path, found: dict[str, Any]) -> None:
    """Write the file unless another process has; a file that cannot be read is replaced."""
    if path.exists() and _read(path) is None:
        path.unlink(missing_ok=True)
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}.tmp")
    try:
        temporary.write_text(json.dumps(found, indent=2) + "\n", encoding="utf-8")
        try:
            os.link(temporary, path)
        except FileExistsError:
            pass
        except OSError:  # a file system without hard links
            temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def _read(path: Path) -> dict[str, Any] | None:
    try:
        kept = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return kept if isinstance(kept, dict) else None
