"""Voxels outside the field of view, which are marked by values that no tissue has: -2000, -3024, -32768."""

from __future__ import annotations

import logging
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from mose_med.preprocessing import PADDING_HU

__all__ = ["warn_of_padding", "without_padding"]

_LOGGER = logging.getLogger(__name__)
_Value = TypeVar("_Value", bound=np.generic)


def without_padding(values_hu: NDArray[_Value]) -> tuple[NDArray[_Value], int]:
    """Values below -1024 HU, less than air, are outside the field of view and become -1024.

    Args:
        values_hu: HU in any shape; not changed.

    Returns:
        Values of the same type, ``values_hu`` itself where there is nothing to do, and how many were outside. Values
        that round to -1024 are not counted: they are air after a scaling.

    Example:
        >>> without_padding(np.array([-3024, -1024, 40]))
        (array([-1024, -1024,    40]), 1)
    """
    if not values_hu.size or values_hu.min() >= PADDING_HU:
        return values_hu, 0
    outside = int(np.count_nonzero(np.less(values_hu, PADDING_HU - 0.5)))
    return values_hu.clip(min=PADDING_HU), outside


def warn_of_padding(outside: int) -> None:
    """Log the number of voxels outside the field of view, if any."""
    if outside:
        _LOGGER.warning("%d voxels below -1024 HU are outside the field of view: read as air", outside)
