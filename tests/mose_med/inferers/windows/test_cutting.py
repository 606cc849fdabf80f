from __future__ import annotations

from itertools import permutations, product

import nibabel as nib
import numpy as np
import pytest
import torch
from monai.data import MetaTensor

from mose_med.ct_image import CtImage
from mose_med.errors import ConfigError, DataError, GeometryError, ShapeError
from mose_med.inferers import nodule_windows, require_inside
from mose_med.inferers.windows.cutting import oriented_volume, windows_around
from mose_med.preprocessing import PADDING_HU, Preprocessing

RAW = Preprocessing(standardise=False, roi_size=(8, 6))
AFFINE = np.array([[-0.7, 0.0, 0.0, 12.0], [0.0, -0.6, 0.0, 20.0], [0.0, 0.0, 2.5, -100.0], [0, 0, 0, 1]])
CODES = ["".join(code) for axes in permutations(("LR", "PA", "IS")) for code in product(*axes)]


def ct(values: np.ndarray, affine: np.ndarray = AFFINE) -> MetaTensor:
    return MetaTensor(torch.from_numpy(values)[None], affine=torch.from_numpy(affine))


@pytest.fixture
def values() -> np.ndarray:
    return np.random.default_rng(0).normal(size=(14, 12, 9)).astype(np.float32)


def at(*index: float) -> list[float]:
    return (AFFINE @ [*index, 1])[:3].tolist()


def test_the_nearest_voxel_lies_in_the_middle_of_the_window(values):
    inputs, windows = nodule_windows(ct(values), at(7.4, 5.5, 4), RAW, depth_mm=2.5)
    assert [window.slice_index for window in windows] == [3, 4, 5]
    assert inputs.shape == (3, 1, 8, 6)
    np.testing.assert_array_equal(inputs[1, 0], values[3:11, 3:9, 4])
    assert inputs[1, 0, 4, 3] == values[7, 6, 4]


def test_beyond_the_edge_there_is_air(values):
    inputs, windows = nodule_windows(ct(values), at(0, 11, 0), RAW, depth_mm=0)
    assert windows == [(0, (-4, 8))]
    assert (inputs[0, 0, :4] == PADDING_HU).all()
    assert (inputs[0, 0, :, 4:] == PADDING_HU).all()
    np.testing.assert_array_equal(inputs[0, 0, 4:, :4], values[:4, 8:, 0])


def test_a_position_between_slices_has_at_least_one(values):
    assert len(nodule_windows(ct(values), at(7, 5, 4.4), RAW, depth_mm=0).windows) == 1


@pytest.mark.parametrize("code", CODES)
def test_all_48_orientations_are_shown_the_same(values, code: str):
    image = nib.Nifti1Image(values, AFFINE)
    steps = nib.orientations.ornt_transform(
        nib.orientations.io_orientation(AFFINE), nib.orientations.axcodes2ornt(code)
    )
    turned = image.as_reoriented(steps)
    shown = nodule_windows(
        ct(np.ascontiguousarray(turned.get_fdata(dtype=np.float32)), turned.affine), at(7, 5.5, 4), RAW
    )
    expected = nodule_windows(ct(values), at(7, 5.5, 4), RAW)
    torch.testing.assert_close(shown.inputs, expected.inputs, rtol=0, atol=0)
    assert shown.windows == expected.windows


def test_the_preprocessing_is_applied_to_each_window(values):
    preprocessing = Preprocessing(window_hu=(-1000, 400), roi_size=(8, 6))
    (shown, _), (raw, _) = (nodule_windows(ct(100 * values), at(7, 5, 4), p) for p in (preprocessing, RAW))
    torch.testing.assert_close(shown, preprocessing(raw))


@pytest.mark.parametrize("index", [(-0.51, 5, 4), (7, 11.5, 4), (7, 5, 8.6)])
def test_positions_outside_are_refused(values, index):
    with pytest.raises(DataError, match=r"nodule 2 at \(.*\) mm RAS lies outside the image: voxel .* of 14 x 12 x 9"):
        require_inside(ct(values), [at(7, 5, 4), at(*index)])


@pytest.mark.parametrize("positions", [[], [[1, 2]], [[1, 2, np.nan]]])
def test_positions_that_are_no_triples_are_refused(values, positions):
    with pytest.raises(ShapeError, match=r"nodules must be (at least one|finite positions)"):
        require_inside(ct(values), positions)


def test_images_that_are_no_volume_are_refused(values):
    with pytest.raises(ShapeError, match="image must be a monai MetaTensor"):
        oriented_volume(torch.from_numpy(values)[None], "LPS")
    with pytest.raises(ShapeError, match=r"image must have shape \(1, i, j, k\), got \(14, 12, 9\)"):
        oriented_volume(MetaTensor(torch.from_numpy(values)), "LPS")
    with pytest.raises(GeometryError, match="affine must be invertible"):
        oriented_volume(ct(values, np.zeros((4, 4))), "LPS")


def test_a_negative_depth_is_refused(values):
    with pytest.raises(ConfigError, match="depth_mm must be >= 0, got -1"):
        windows_around(oriented_volume(ct(values), "LPS"), at(7, 5, 4), (8, 6), depth_mm=-1)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_values_that_are_not_finite_are_refused(values, value: float):
    values[3, 3, 2] = value
    with pytest.raises(DataError, match=r"image must have finite values, got NaN or infinity: replace them with -1024"):
        oriented_volume(ct(values), "LPS")


def test_windows_are_of_the_wanted_spacing():
    i, j, k = np.meshgrid(np.arange(40), np.arange(36), np.arange(3), indexing="ij")
    image = ct((2 * i * 0.7 + 3 * j * 0.6 + 50 * k).astype(np.float32))
    wanted = Preprocessing(standardise=False, roi_size=(8, 6), spacing_mm=1.0)
    shown, windows = nodule_windows(image, at(20, 15, 1), wanted, depth_mm=0)
    assert windows == [(1, (10, 6))]
    x, y = np.meshgrid(np.arange(10, 18), np.arange(6, 12), indexing="ij")
    np.testing.assert_allclose(shown[0, 0], 2 * x + 3 * y + 50, atol=1e-3)


def test_integers_are_shown_as_floats_are(values):
    whole = np.rint(values * 100)
    shown, expected = (nodule_windows(ct(v), at(7, 5, 4), RAW) for v in (whole.astype(np.int16), whole))
    torch.testing.assert_close(shown.inputs, expected.inputs, rtol=0, atol=0)


class Placed(torch.Tensor):
    """A plain tensor that somebody gave an affine."""

    affine: np.ndarray


def test_any_image_with_an_affine_is_looked_at_as_a_meta_tensor_is():
    values = np.arange(2 * 3 * 4, dtype=np.float32).reshape(2, 3, 4)
    tensor = torch.from_numpy(values)[None].as_subclass(Placed)
    tensor.affine = AFFINE
    expected = oriented_volume(ct(values), "LPS")
    for image in (tensor, CtImage(torch.from_numpy(values)[None], torch.from_numpy(AFFINE))):
        np.testing.assert_array_equal(oriented_volume(image, "LPS").values, expected.values)
        np.testing.assert_array_equal(oriented_volume(image, "LPS").affine, expected.affine)
