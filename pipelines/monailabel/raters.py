"""One tag a rater. Clients save every label as ``final``, the last one's in place of the one before."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, Protocol

__all__ = ["Labels", "keep_for_rater", "rater_of"]

_FINAL = "final"
_NOT_IN_A_TAG = re.compile(r"[^A-Za-z0-9_-]+")


class Labels(Protocol):
    """What is used of a datastore of MONAI Label."""

    def get_label_info(self, label_id: str, label_tag: str) -> dict[str, Any]:
        """What is recorded of a label."""
        ...

    def get_label_uri(self, label_id: str, label_tag: str) -> str:
        """Path of a label; empty if there is none."""
        ...

    def save_label(self, image_id: str, label_filename: str, label_tag: str, label_info: dict[str, Any]) -> str:
        """Save a label."""
        ...


def rater_of(info: dict[str, Any]) -> str | None:
    """The tag of who saved a label or asks for an image, as clients name themselves; None if they do not.

    Example:
        >>> rater_of({"client_id": "Dr. A"}), rater_of({})
        ('Dr-A', None)
    """
    name = _NOT_IN_A_TAG.sub("-", str(info.get("rater") or info.get("client_id") or "")).strip("-")
    return name if name not in ("", _FINAL, "original") else None


def keep_for_rater(labels: Labels, image_id: str, label_id: str) -> str | None:
    """Save the final label of an image under the tag of its rater too, unless the rater's own is newer.

    Returns:
        The tag; None if nobody is named.
    """
    final = labels.get_label_uri(label_id, _FINAL)
    rater = rater_of(labels.get_label_info(label_id, _FINAL))
    if not final or rater is None:
        return None
    own = labels.get_label_uri(label_id, rater)
    if not own or Path(own).stat().st_mtime_ns < Path(final).stat().st_mtime_ns:
        labels.save_label(image_id, final, rater, {"rater": rater})
    return rater
