from __future__ import annotations

from itertools import permutations, product

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from mose_med.geometry import Reorientation
from mose_med.inferers import regions
from mose_med.inferers.boxes import Box
from mose_med.inferers.regions import (
    Region,
    assembled,
    entropy,
    entropy_between_experts,
    nearest_shares,
    pack,
    unpack,
)
from mose_med.metrics import expert_entropy_split

STEPS = [Reorientation(axes, flips) for axes in permutations(range(3)) for flips in product((False, True), repeat=3)]


def test_packed_masks_are_unpacked_one_by_one():
    masks = np.random.default_rng(0).random((3, 4, 2, 11)) > 0.5
    bits = pack(masks)
    assert bits.shape == (3, 4, 2, 2)
    np.testing.assert_array_equal(np.stack([unpack(bits, n) for n in range(11)], axis=-1), masks)


@pytest.mark.parametrize("steps", STEPS)
def test_a_box_finds_its_voxels_in_the_grid_before_reorientation(steps: Reorientation):
    values = np.arange(4 * 5 * 6).reshape(4, 5, 6)
    turned = steps.apply(values)
    box = Box((1, 0, 2), (3, 2, 4))
    before = box.undo(steps, values.shape)
    np.testing.assert_array_equal(steps.apply(values[before.slices]), turned[box.slices])
    assert before.reoriented(steps, values.shape) == box


def test_the_marginal_weighs_experts_and_is_zero_where_nothing_was_seen():
    gating = np.zeros((2, 1, 1, 2), dtype=np.float16)
    gating[0] = [0.25, 0.75]
    means = np.full((2, 1, 1, 2), [0.0, 1.0], dtype=np.float16)
    region = Region(Box((0, 0, 0), (2, 1, 1)), np.zeros((2, 1, 1, 1), np.uint8), means, gating, np.zeros((2, 1, 1, 0)))
    np.testing.assert_allclose(region.probability().ravel(), [0.75, 0])
    np.testing.assert_array_equal(region.consensus().ravel(), [True, False])
    np.testing.assert_array_equal(region.looked().ravel(), [True, False])


@pytest.fixture
def noisy_region() -> Region:
    """Three experts on 5 x 4 x 3 voxels, one of which no window had."""
    rng = np.random.default_rng(0)
    gating, means = rng.random((2, 5, 4, 3, 3)).astype(np.float16)
    gating[0, 0, 0] = 0
    return Region(Box((0, 0, 0), (5, 4, 3)), np.zeros((5, 4, 3, 1), np.uint8), means, gating, np.zeros((5, 4, 3, 0)))


def test_expert_probabilities_are_the_gating_brought_to_a_sum_of_one(noisy_region: Region):
    gating = noisy_region.gating.astype(np.float32)
    total = gating.sum(axis=-1, keepdims=True)
    wanted = np.divide(gating, total, out=np.zeros_like(gating), where=total > 0)
    np.testing.assert_array_equal(noisy_region.expert_probs(), wanted)
    for expert in range(3):
        np.testing.assert_array_equal(noisy_region.expert_prob(expert), wanted[..., expert])
    np.testing.assert_array_equal(noisy_region.looked(), wanted.any(axis=-1))


def test_half_precision_is_widened_exactly():
    halves = np.arange(np.float16(np.inf).view(np.uint16), dtype=np.uint16).view(np.float16)
    np.testing.assert_array_equal(regions._float32(halves), halves.astype(np.float32))
    assert regions._float32(np.array([-0.0], np.float16)).tolist() == [0]


def test_halved_values_are_rounded_as_numpy_rounds_them():
    halves = np.arange(np.float16(65504).view(np.uint16) + 1, dtype=np.uint16).view(np.float16).astype(np.float32)
    between = (halves[:-1] + halves[1:]) / 2  # ties, and what lies next to them
    values = np.concatenate([halves, between, np.nextafter(between, 0), np.nextafter(between, 1e5)])
    rounded = regions.halved(values.astype(np.float32))
    np.testing.assert_array_equal(rounded.view(np.uint16), values.astype(np.float32).astype(np.float16).view(np.uint16))


def test_entropies_are_those_of_the_metrics(noisy_region: Region):
    foreground = torch.from_numpy(noisy_region.expert_means.astype(np.float32)).movedim(-1, 0)
    probs = torch.from_numpy(noisy_region.expert_probs()).movedim(-1, 0)
    split = expert_entropy_split(torch.stack([1 - foreground, foreground], dim=1)[None], probs[None])
    looked = noisy_region.looked()
    np.testing.assert_allclose(entropy(noisy_region), split.total[0].numpy() * looked, atol=1e-6)
    np.testing.assert_allclose(entropy_between_experts(noisy_region), split.between[0].numpy() * looked, atol=1e-6)


def test_where_regions_share_voxels_each_tells_of_its_share_alone():
    boxes = [Box((0, 0, 0), (4, 1, 1)), Box((2, 0, 0), (6, 1, 1))]
    both = [
        Region(box, *(np.full((4, 1, 1, 2), n, kind) for kind in (np.uint8, np.float16, np.float16, np.uint8)))
        for n, box in enumerate(boxes, start=1)
    ]
    shares = nearest_shares(boxes, [np.array([3.0, 0, 0]), np.array([5.0, 0, 0])], np.eye(4))
    values = assembled(both, lambda region: region.gating[..., 0], Box((1, 0, 0), (7, 1, 1)), np.float32, shares=shares)
    assert values.ravel().tolist() == [1, 1, 1, 2, 2, 0]


def test_a_box_that_shares_no_voxel_tells_of_all():
    boxes = [Box((0, 0, 0), (4, 1, 1)), Box((4, 0, 0), (6, 1, 1))]
    assert nearest_shares(boxes, [np.zeros(3), np.array([1.0, 0, 0])], np.eye(4)) == [None, None]


@given(st.lists(st.tuples(*[st.integers(0, 6)] * 3), min_size=1, max_size=5, unique=True), st.randoms())
def test_every_voxel_of_the_boxes_is_of_one_share_whatever_their_order(positions, random):
    boxes = [Box(position, tuple(n + 4 for n in position)) for position in positions]
    points = [np.add(position, 1.5) for position in positions]
    total, order = np.zeros((10, 10, 10), dtype=int), random.sample(range(len(boxes)), len(boxes))
    straight = nearest_shares(boxes, points, np.eye(4))
    permuted = nearest_shares([boxes[n] for n in order], [points[n] for n in order], np.eye(4))
    for n, share in zip(order, permuted, strict=True):
        np.testing.assert_array_equal(share, straight[n])
        total[boxes[n].slices] += 1 if share is None else share
    held = np.zeros_like(total)
    for box in boxes:
        held[box.slices] = 1
    np.testing.assert_array_equal(total, held)
