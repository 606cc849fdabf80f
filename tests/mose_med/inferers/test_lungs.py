from __future__ import annotations

import numpy as np
import pytest
from monai.data import MetaTensor

from mose_med.errors import DataError
from mose_med.inferers import lung_mask


def parts(chest: MetaTensor) -> tuple[np.ndarray, np.ndarray]:
    return chest.numpy()[0].copy(), chest.affine.numpy()


def test_both_lungs_are_in_and_the_air_outside_is_not(chest):
    hu, affine = parts(chest)
    mask = lung_mask(hu, affine)
    assert mask[hu == -850].all()
    assert not mask[hu == -1000].any()
    assert mask.sum() < 1.4 * (hu == -850).sum()


def test_nodules_in_a_lung_and_on_the_pleura_are_in(chest):
    hu, affine = parts(chest)
    mask = lung_mask(hu, affine)
    assert mask[22, 30, 8]
    assert mask[57, 44, 14]
    assert not mask[40, 40, 10]


def test_the_first_and_last_slices_are_as_the_others(chest):
    hu, affine = parts(chest)
    areas = lung_mask(hu, affine).sum(axis=(0, 1))
    assert areas.min() > 0.9 * areas.max()


def test_one_lung_is_enough_and_a_bubble_is_none(chest):
    hu, affine = parts(chest)
    hu[:40][hu[:40] == -850] = -50
    hu[20:22, 30:32, 4:6] = -900
    mask = lung_mask(hu, affine)
    assert not mask[:38].any()
    assert mask[hu == -850].all()


def test_finer_voxels_give_the_same_lungs(chest):
    hu, affine = parts(chest)
    fine = hu.repeat(3, axis=0).repeat(3, axis=1).repeat(2, axis=2)
    mask = lung_mask(fine, affine @ np.diag([1 / 3, 1 / 3, 0.5, 1]))
    share = mask.mean() / lung_mask(hu, affine).mean()
    np.testing.assert_allclose(share, 1, atol=0.05)


def test_gas_of_the_bowel_is_no_lung(chest):
    values, affine = parts(chest)
    values[values == -850] = -50
    values[30:40, 20:30] = -900
    with pytest.raises(DataError, match="no lungs were found"):
        lung_mask(values, affine)


@pytest.mark.parametrize("hu", [-1000, 0])
def test_without_lungs_the_remedy_is_told(chest, hu: int):
    values, affine = parts(chest)
    message = r"no lungs were found in the image \(20 cm2 of air inside the patient on a slice\): give nodule positions"
    with pytest.raises(DataError, match=message):
        lung_mask(np.full_like(values, hu), affine)


@pytest.mark.parametrize("thickness_mm", [0.3, 0.5, 1.0, 5.0])
@pytest.mark.parametrize("slices", [1, 2, 3])
def test_few_slices_are_enough_however_thin(chest, slices: int, thickness_mm: float):
    hu, affine = parts(chest)
    few = hu[..., 8 : 8 + slices]
    mask = lung_mask(few, affine @ np.diag([1, 1, thickness_mm / 5, 1]))
    assert mask.shape == few.shape
    assert mask[few == -850].all()
    assert not mask[few == -1000].any()


def test_an_image_narrower_than_a_step_has_no_lungs():
    with pytest.raises(DataError, match="no lungs were found in the image"):
        lung_mask(np.full((2, 2, 1), -850), np.diag([0.3, 0.3, 0.3, 1]))
