"""Arrays with their place: what has the same voxels keeps it, all else is a plain array."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Callable

import numpy as np
import pytest

from mose_med.api.crops import PlacedArray

AFFINE = np.diag([-0.7, -0.7, 2.0, 1.0])


def placed() -> PlacedArray:
    return PlacedArray.of(np.arange(24.0).reshape(1, 2, 3, 4), AFFINE)


@pytest.mark.parametrize(
    "copied",
    [
        lambda array: array.copy(),
        lambda array: array.astype(np.float32),
        copy.copy,
        copy.deepcopy,
        lambda array: pickle.loads(pickle.dumps(array)),
    ],
)
def test_a_copy_lies_where_the_array_does(copied: Callable[[PlacedArray], PlacedArray]):
    found = copied(placed())
    np.testing.assert_array_equal(found, placed())
    np.testing.assert_array_equal(found.affine, AFFINE)


@pytest.mark.parametrize(
    "made",
    [
        lambda array: array[0],
        lambda array: array + 1,
        lambda array: array.mean(axis=0),
        lambda array: array.transpose(3, 2, 1, 0),
        lambda array: array.T,
        lambda array: array.reshape(-1),
        lambda array: array.squeeze(),
        lambda array: np.flip(array, axis=1),
    ],
)
def test_what_has_other_voxels_has_no_place(made: Callable[[PlacedArray], np.ndarray]):
    with pytest.raises(AttributeError, match="affine"):
        _ = made(placed()).affine
