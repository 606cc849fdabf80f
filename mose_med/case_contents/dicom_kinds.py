"""Which DICOM objects a case can have, and has: light to import, without PyTorch."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path

from mose_med.errors import ConfigError

__all__ = ["DICOM_KINDS", "DICOM_NAME", "SEG_KINDS", "dicom_files", "dicom_kinds_in_order"]

#: File of a case folder that says which DICOM objects and segments there are.
DICOM_NAME = "dicom.json"

#: What ``--dicom-seg`` stands for, and all there are.
SEG_KINDS = ("seg", "fractional", "sr")
DICOM_KINDS = (*SEG_KINDS, "parametric-map", "labelmap", "rtstruct", "pictures")


def dicom_kinds_in_order(kinds: Iterable[str]) -> tuple[str, ...]:
    """Kinds of objects in the order of :data:`DICOM_KINDS`, each once; ``all`` stands for every one.

    Raises:
        ConfigError: if there is no such kind.

    Example:
        >>> dicom_kinds_in_order(["rtstruct", "seg", "seg"])
        ('seg', 'rtstruct')
    """
    wanted = set(kinds)
    unknown = sorted(wanted - {"all", *DICOM_KINDS})
    if unknown:
        raise ConfigError(f"dicom must be all, or some of {', '.join(DICOM_KINDS)}, got {unknown[0]!r}")
    return tuple(kind for kind in DICOM_KINDS if kind in wanted or "all" in wanted)


def dicom_files(folder: Path) -> list[Path]:
    """The DICOM objects in the folder of a case."""
    return [folder / name for name in json.loads((folder / DICOM_NAME).read_text(encoding="utf-8"))["files"]]
