"""An array that knows where it lies in the patient."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from mose_med.geometry import Affine

__all__ = ["PlacedArray"]


class PlacedArray(np.ndarray[Any, np.dtype[Any]]):
    """An array whose last three axes are i, j, k. Copies keep its place; what is computed or cut from it has none.

    Attributes:
        affine: of i, j, k, RAS mm, (4, 4).

    Example:
        >>> placed = PlacedArray.of(np.zeros((2, 3, 4)), np.eye(4))
        >>> placed.shape, placed.affine.shape, type(placed[0]) is np.ndarray, type(placed + 1) is np.ndarray
        ((2, 3, 4), (4, 4), True, True)
    """

    affine: Affine

    @classmethod
    def of(cls, values: NDArray[Any], affine: Affine) -> PlacedArray:
        """Values at a place."""
        placed = values.view(cls)
        placed.affine = affine
        return placed

    def copy(self, order: Any = "C") -> PlacedArray:
        """The same at the same place."""
        return self.of(np.asarray(self).copy(order), self.affine)

    def astype(self, dtype: Any, *args: Any, **options: Any) -> PlacedArray:
        """Values of another type at the same place."""
        return self.of(np.asarray(self).astype(dtype, *args, **options), self.affine)

    def __copy__(self) -> PlacedArray:
        return self.copy()

    def __deepcopy__(self, memo: Any) -> PlacedArray:
        return self.copy()

    def __reduce__(self) -> Any:
        return self.of, (np.asarray(self), self.affine)

    def __getitem__(self, key: Any) -> Any:
        return np.asarray(self)[key]

    def __array_wrap__(self, array: Any, context: Any = None, return_scalar: bool = False) -> Any:
        return array[()] if return_scalar else np.asarray(array)
