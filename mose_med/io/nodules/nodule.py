"""A nodule of a list: a name and a position."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import count
from typing import NamedTuple

from mose_med.errors import DataError

__all__ = ["Nodule", "distinct_names", "in_ras"]


class Nodule(NamedTuple):
    """A position to infer, in RAS mm."""

    nodule_id: str
    position_mm: tuple[float, float, float]


def distinct_names(names: Iterable[str]) -> list[str]:
    """Names that are all different: those that occur more than once are numbered, places without a name by their place.

    Example:
        >>> distinct_names(["left", "", "right", "left"])
        ['left-1', '2', 'right', 'left-2']
    """
    given = [name or str(number) for number, name in enumerate(names, start=1)]
    numbers = {name: count(1) for name in given}
    return [f"{name}-{next(numbers[name])}" if given.count(name) > 1 else name for name in given]


def in_ras(position_mm: Iterable[float], axes: str, what: str) -> tuple[float, float, float]:
    """A position whose axes are ``lps`` or ``ras``, in RAS.

    Raises:
        DataError: if the axes are others; ``what`` names them in the message.
    """
    x, y, z = (float(value) for value in position_mm)
    if axes not in ("lps", "ras"):
        raise DataError(f"{what} must be LPS or RAS, got {axes.upper() or 'none'}")
    return (-x, -y, z) if axes == "lps" else (x, y, z)
