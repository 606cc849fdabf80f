"""Which DICOM objects a case can have, by the names that are asked for: light to import, without PyTorch."""

from __future__ import annotations

from collections.abc import Iterable

from mose_med.errors import ConfigError

__all__ = ["DICOM_KINDS", "SEG_KINDS", "dicom_kinds_in_order"]

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
