from __future__ import annotations

import numpy as np
import pytest

from data_prep.rater_masks.lesions import crop_lesions
from data_prep.rater_masks.volumes import RatedVolume
from data_prep.window import in_plane_window

AFFINE = np.array([[-0.5, 0, 0, 10], [0, -0.5, 0, 20], [0, 0, 2, -30], [0, 0, 0, 1]], dtype=float)


@pytest.fixture
def volume() -> RatedVolume:
    """Two objects: one of rater 1 and of rater 2, which touch at a corner, on slices 1 and 2; one at the edge."""
    masks = np.zeros((30, 30, 5, 2), dtype=np.uint8)
    masks[10:14, 12:16, 1, 0] = 1
    masks[14:16, 16:18, 2, 1] = 2
    masks[28:30, 0:2, 4, 0] = 1
    image = np.arange(30 * 30 * 5).reshape(30, 30, 5)
    return RatedVolume(image.astype(np.float64), masks, np.array([True, True]), AFFINE)


def test_outlines_that_touch_are_one_object(volume: RatedVolume):
    first, second = crop_lesions(volume, (8, 8))
    assert (first.number, first.z_mm, first.raters_present, first.raters) == (1, (-28, -26), (1, 1), 2)
    assert (second.number, second.z_mm, second.raters_present, second.raters) == (2, (-22,), (1,), 1)


def test_window_shows_the_voxels_of_its_place(volume: RatedVolume):
    first, _ = crop_lesions(volume, (8, 8))
    start = np.rint(np.linalg.inv(AFFINE) @ first.affine @ [0, 0, 0, 1]).astype(int)
    i, j, k, _ = start
    np.testing.assert_array_equal(first.image, volume.image[i : i + 8, j : j + 8, k : k + 2])
    np.testing.assert_array_equal(first.masks, volume.masks[i : i + 8, j : j + 8, k : k + 2])
    assert first.image.dtype == np.int16
    centre = np.linalg.inv(first.affine) @ [*first.centre_mm, 1]
    np.testing.assert_allclose(centre[:2], [4, 4])


def test_window_past_the_edge_is_padded(volume: RatedVolume):
    first, second = crop_lesions(volume, (8, 8))
    assert (first.padded, second.padded) == (False, True)
    assert (second.image == -1024).sum() == 64 - 5 * 5
    assert second.masks.sum() == 4


def test_objects_larger_than_the_window_are_told(volume: RatedVolume):
    assert [crop.cut for crop in crop_lesions(volume, (4, 4))] == [True, False]


def test_values_that_are_not_whole_stay_so(volume: RatedVolume):
    crop = next(crop_lesions(volume._replace(image=volume.image + 0.5), (8, 8)))
    assert crop.image.dtype == np.float32


def test_nothing_drawn_gives_nothing(volume: RatedVolume):
    assert list(crop_lesions(volume._replace(masks=np.zeros_like(volume.masks)), (8, 8))) == []


def test_every_other_voxel_at_twice_the_spacing(volume: RatedVolume):
    for crop in crop_lesions(volume, (8, 8), 1.0):
        i, j, k = np.rint(np.linalg.inv(AFFINE) @ crop.affine[:, 3])[:3].astype(int)
        assert (i % 2, j % 2) == (0, 0)
        for found, whole, fill in ((crop.image, volume.image, -1024), (crop.masks, volume.masks, 0)):
            expected = in_plane_window(whole[::2, ::2], (i // 2, j // 2), (8, 8), fill)
            np.testing.assert_array_equal(found, expected[:, :, k : k + found.shape[2]])
        assert np.abs(crop.affine[[0, 1], [0, 1]]).tolist() == [1.0, 1.0]


def test_voxels_belong_to_a_class_from_one_half(volume: RatedVolume):
    """A square of 4 voxels, at half their spacing: 7 within, and those beyond each side but not at the corners."""
    first, _ = crop_lesions(volume, (32, 32), 0.25)
    assert (first.masks[:, :, 0, 0] == 1).sum() == 7**2 + 4 * 7
