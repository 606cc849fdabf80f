"""Volumes of HU put together plane by plane, in the smallest type that holds them exactly."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

__all__ = ["compact_hu", "stacked_hu"]

_INT16 = np.iinfo(np.int16)


def stacked_hu(planes: Iterable[NDArray[np.float32]], shape: tuple[int, int, int]) -> NDArray[np.int16 | np.float32]:
    """Volume (i, j, k) of planes (j, i): int16 if all HU are whole numbers of its range, else float32.

    Example:
        >>> plane = np.arange(6, dtype=np.float32).reshape(2, 3)
        >>> stacked_hu([plane], (3, 2, 1)).dtype, stacked_hu([plane / 4], (3, 2, 1)).dtype
        (dtype('int16'), dtype('float32'))
    """
    volume: NDArray[np.int16 | np.float32] = np.empty(shape[::-1], dtype=np.int16)
    for k, plane in enumerate(planes):
        if volume.dtype == np.int16 and not _is_int16(plane):
            volume = volume.astype(np.float32)
        volume[k] = plane
    return volume.transpose(2, 1, 0)


def compact_hu(values: NDArray[np.generic]) -> NDArray[np.int16 | np.float32]:
    """The same HU (i, j, k) in int16 if they are of a whole-number type and in its range, else in float32.

    Example:
        >>> compact_hu(np.array([[[-1024, 3071]]])).dtype, compact_hu(np.array([[[40000]]])).dtype
        (dtype('int16'), dtype('float32'))
    """
    if values.dtype.kind in "biu" and (not values.size or _in_range(values)):
        return values.astype(np.int16, copy=False)
    return values.astype(np.float32, copy=False)


def _in_range(values: NDArray[np.generic]) -> bool:
    return np.can_cast(values.dtype, np.int16) or bool(_INT16.min <= values.min() and values.max() <= _INT16.max)


def _is_int16(plane: NDArray[np.float32]) -> bool:
    return bool(_INT16.min <= plane.min() and plane.max() <= _INT16.max and (plane == plane.astype(np.int16)).all())
