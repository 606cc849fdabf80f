from __future__ import annotations

import numpy as np
import pytest
import torch
from monai.data import MetaTensor

from mose_med.case_contents.provenance import image_sha256

AFFINE = np.diag([0.7, 0.7, 2.0, 1.0])


@pytest.fixture
def values() -> np.ndarray:
    return np.random.default_rng(0).integers(-1024, 3000, size=(1, 5, 4, 3)).astype(np.int16)


def image(values: np.ndarray, affine: np.ndarray = AFFINE) -> MetaTensor:
    return MetaTensor(torch.from_numpy(values), affine=torch.from_numpy(affine))


def test_neither_type_nor_memory_order_changes_the_hash_of_an_image(values):
    forms = [values, values.astype(np.float32), values.astype(np.float64), np.asfortranarray(values)]
    assert len({image_sha256(image(form)) for form in forms}) == 1


def test_a_value_a_shape_and_an_affine_change_it(values):
    other = values.copy()
    other[0, 4, 3, 2] += 1
    images = [image(values), image(other), image(values[:, :4]), image(values, AFFINE @ np.diag([1, 1, -1, 1]))]
    assert len(set(map(image_sha256, images))) == 4
