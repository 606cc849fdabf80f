"""What the values of a mask mean, for any tool: classes, also after a scaling, or 255 for foreground."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

__all__ = ["is_foreground_255", "whole_values"]

#: How far a scaling may move a whole number.
_NEAR = 1e-3
_FOREGROUND = 255


def whole_values(values: NDArray[np.generic]) -> tuple[NDArray[np.generic], float | None]:
    """Values changed slightly by scaling, rounded back; and the first that is not whole.

    Example:
        >>> whole_values(np.array([0.0, 1.00000006])), whole_values(np.array([0.5]))[1]
        ((array([0., 1.]), None), 0.5)
    """
    if values.dtype.kind in "biu":
        return values, None
    numbers = np.asarray(values, dtype=np.float64)
    whole = np.rint(numbers)
    wrong = ~(np.abs(numbers - whole) <= _NEAR)
    return whole, float(numbers[wrong][0]) if wrong.any() else None


def is_foreground_255(values: NDArray[np.generic]) -> bool:
    """Whether 255 is the only value besides 0, as programs for pictures write foreground.

    Example:
        >>> is_foreground_255(np.array([0, 255])), is_foreground_255(np.array([0, 1, 255]))
        (True, False)
    """
    found = np.unique(values)
    return bool(found[-1] == _FOREGROUND and np.isin(found, (0, _FOREGROUND)).all())
