from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from monai.transforms import Rotate
from torch import Tensor
from torch.testing import assert_close

from mose_med.data import RandFlipRotateBatchd, RandIntensityBatchd
from mose_med.data.augmentation import Move, flipped_and_rotated
from mose_med.errors import ConfigError


def batch(indices: list[int], *, epoch: int = 1, sides: tuple[int, int] = (32, 32)) -> dict[str, Any]:
    """Slices whose image is the sum of their four rater masks, rectangles that overlap."""
    label = torch.zeros(len(indices), 4, *sides, dtype=torch.uint8)
    for rater in range(4):
        label[:, rater, 6 + rater : 20, 8 : 22 - rater] = 1
    numbers = {"epoch": torch.full((len(indices),), epoch), "index": torch.tensor(indices)}
    return {"image": label.sum(1, keepdim=True).float(), "label": label, **numbers}


def test_image_and_raters_move_together():
    moved = RandFlipRotateBatchd(seed=3)(batch(list(range(16))))
    assert (moved["image"][:, 0] - moved["label"].sum(1)).abs().mean() < 0.15


def test_flips_alone_are_exact():
    maps = batch([0, 1])
    moved = RandFlipRotateBatchd(probability=1.0, max_rotation_degrees=0.0)(maps)
    assert_close(moved["image"], maps["image"].flip(2, 3), atol=0, rtol=0)
    assert_close(moved["label"], maps["label"].flip(2, 3), atol=0, rtol=0)


def test_probability_zero_changes_nothing():
    maps = batch(list(range(8)))
    assert_close(RandFlipRotateBatchd(probability=0.0)(maps), maps, atol=0, rtol=0)


def test_types_and_other_entries_stay():
    moved = RandFlipRotateBatchd()(batch([0, 1, 2]) | {"slice": "kept"})
    assert (moved["image"].dtype, moved["label"].dtype, moved["slice"]) == (torch.float32, torch.uint8, "kept")


@pytest.mark.parametrize("sides", [(33, 33), (24, 40)])
@given(degrees=st.floats(-180, 180))
def test_rotation_is_that_of_monai(sides: tuple[int, int], degrees: float):
    image = torch.rand(1, 2, *sides, generator=torch.Generator().manual_seed(0))
    radians = math.radians(degrees)
    ours = flipped_and_rotated(image, [Move((False, False), radians)])
    theirs = Rotate(-radians, keep_size=True, mode="bilinear", padding_mode="border", dtype=torch.float64)(image[0])
    assert_close(ours[0], theirs.as_tensor().float(), atol=2e-4, rtol=0)


@pytest.mark.parametrize("degrees", [90, 180, -90])
def test_right_angles_of_classes_are_exact(degrees: int):
    label = torch.randint(0, 255, (1, 3, 16, 16), dtype=torch.uint8, generator=torch.Generator().manual_seed(1))
    moved = flipped_and_rotated(label, [Move((False, False), math.radians(degrees))], classes=True)
    assert_close(moved, torch.rot90(label, degrees // 90, dims=(2, 3)), atol=0, rtol=0)


def test_outside_is_background_to_labels_and_the_border_to_images():
    ones = torch.ones(1, 1, 16, 16)
    turn = [Move((False, False), math.radians(45))]
    assert flipped_and_rotated(ones, turn, classes=True)[0, 0, 0, 0] == 0
    assert_close(flipped_and_rotated(ones, turn), ones)


@given(order=st.permutations(range(6)), cut=st.integers(1, 5))
def test_a_slice_moves_the_same_in_any_batch(order: list[int], cut: int):
    augment = RandFlipRotateBatchd(seed=5)
    whole = augment(batch(list(range(6)), epoch=2))
    parts = [augment(batch(part, epoch=2)) for part in (order[:cut], order[cut:])]
    for key in ("image", "label"):
        assert_close(torch.cat([part[key] for part in parts]), whole[key][list(order)], atol=1e-6, rtol=0)


def test_epochs_and_seeds_move_differently():
    def moves(seed: int, epoch: int) -> list[Move]:
        return [RandFlipRotateBatchd(seed=seed).move(epoch, index) for index in range(8)]

    assert moves(0, 1) == moves(0, 1)
    assert moves(0, 1) != moves(0, 2)
    assert moves(0, 1) != moves(1, 1)


def test_each_transform_happens_as_often_as_asked():
    moves = [RandFlipRotateBatchd(probability=0.3, max_rotation_degrees=10).move(1, index) for index in range(4000)]
    shares = Tensor([[*move.flips, move.radians != 0] for move in moves]).mean(dim=0)
    assert_close(shares, torch.full((3,), 0.3), atol=0.03, rtol=0)
    assert max(abs(move.radians) for move in moves) <= math.radians(10)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"probability": 1.5}, r"probability must be in \[0, 1\], got 1.5"),
        ({"max_zoom": 0.5}, r"max_zoom must be in \[1, 4\], got 0.5"),
        ({"max_shift": 0.6}, r"max_shift must be in \[0, 0.5\], got 0.6"),
        ({"max_rotation_degrees": -1.0}, r"max_rotation_degrees must be in \[0, 180\], got -1.0"),
    ],
)
def test_settings_out_of_range_are_refused(settings: dict[str, float], message: str):
    with pytest.raises(ConfigError, match=message):
        RandFlipRotateBatchd(**settings)


def test_flips_and_transposition_make_all_eight_symmetries():
    image = torch.arange(9.0).view(1, 1, 3, 3)
    made = {
        tuple(flipped_and_rotated(image, [Move((i, j), transposed=t)]).flatten().tolist())
        for i in (False, True)
        for j in (False, True)
        for t in (False, True)
    }
    turned = [torch.rot90(image, turns, (2, 3)) for turns in range(4)]
    assert made == {tuple(view.flatten().tolist()) for view in [*turned, *(view.flip(3) for view in turned)]}


def test_only_square_slices_are_transposed():
    with pytest.raises(ConfigError, match=r"transpose needs square slices, got \(24, 40\)"):
        RandFlipRotateBatchd(transpose=True)(batch([0], sides=(24, 40)))


def test_a_shift_of_whole_voxels_is_exact():
    label = batch([0], sides=(32, 48))["label"]
    moved = flipped_and_rotated(label, [Move((False, False), shift=(3 / 32, -2 / 48))], classes=True)
    assert_close(moved, torch.roll(label, (3, -2), dims=(2, 3)), atol=0, rtol=0)


@given(zoom=st.floats(0.7, 1.4))
def test_zoom_changes_areas_by_its_square(zoom: float):
    squares = (torch.arange(128) - 63.5) ** 2
    disc = (squares[:, None] + squares < 40**2)[None, None].to(torch.uint8)
    moved = flipped_and_rotated(disc, [Move((False, False), zoom=zoom)], classes=True)
    assert_close(moved.sum() / disc.sum(), torch.tensor(zoom**2, dtype=torch.float32), atol=0, rtol=0.05)


@given(shift=st.tuples(st.floats(-0.2, 0.2), st.floats(-0.2, 0.2)), degrees=st.floats(-180, 180))
def test_the_shift_comes_after_the_rotation(shift: tuple[float, float], degrees: float):
    blob = torch.zeros(1, 1, 64, 64)
    blob[0, 0, 30:34, 30:34] = 1
    moved = flipped_and_rotated(blob, [Move((False, False), math.radians(degrees), shift=shift)])[0, 0]
    centre = torch.stack([(moved.sum(1 - axis) * torch.arange(64)).sum() / moved.sum() for axis in (0, 1)])
    assert_close(centre, 31.5 + 64 * torch.tensor(shift), atol=0.1, rtol=0)


def test_intensity_keeps_contrast_brightness_and_noise_within_their_limits():
    maps = {"image": torch.ones(64, 1, 16, 16), "epoch": torch.ones(64), "index": torch.arange(64)}
    changed = RandIntensityBatchd(max_contrast=0.2, max_brightness=0.1)(maps)["image"]
    assert_close(changed, changed[:, :, :1, :1].expand_as(changed))
    assert 0.7 <= float(changed.min()) < 0.8 < 1.2 < float(changed.max()) <= 1.3
    noise = RandIntensityBatchd(max_noise=0.3)(maps)["image"] - 1.0
    assert 0.1 < float(noise.flatten(1).std(dim=1).max()) < 0.35


@given(order=st.permutations(range(4)))
def test_intensity_of_a_slice_is_the_same_in_any_batch(order: list[int]):
    augment = RandIntensityBatchd(0.1, 0.1, 0.1, seed=3)
    whole, part = augment(batch(list(range(4)))), augment(batch(order))
    assert_close(part["image"], whole["image"][order], atol=0, rtol=0)
    assert_close(part["label"], batch(order)["label"], atol=0, rtol=0)


def test_intensity_out_of_range_is_refused():
    with pytest.raises(ConfigError, match=r"max_contrast must be in \[0, 1\), got 1.0"):
        RandIntensityBatchd(max_contrast=1.0)
    with pytest.raises(ConfigError, match=r"max_noise must be >= 0, got -0.1"):
        RandIntensityBatchd(max_noise=-0.1)
