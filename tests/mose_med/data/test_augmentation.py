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

from mose_med.data import RandFlipRotateBatchd
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
        ({"max_rotation_degrees": -1.0}, r"max_rotation_degrees must be in \[0, 180\], got -1.0"),
    ],
)
def test_settings_out_of_range_are_refused(settings: dict[str, float], message: str):
    with pytest.raises(ConfigError, match=message):
        RandFlipRotateBatchd(**settings)
