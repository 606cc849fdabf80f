from __future__ import annotations

from typing import Any

import torch
from torch.testing import assert_close

from mose_med.data import MultiRaterBatch
from mose_med.samples import RaterMasks

BATCH = {
    "image": torch.rand(2, 1, 8, 8),
    "label": torch.arange(2 * 4 * 8 * 8).view(2, 4, 8, 8).to(torch.uint8),
    "rater_weights": torch.full((2, 4), 0.25),
}


def draw(batch: MultiRaterBatch) -> torch.Tensor:
    return torch.randn(3, generator=batch(BATCH)[3]["generator"])


def test_the_target_carries_masks_and_weights():
    image, target, positional, named = MultiRaterBatch(samples_per_expert=3)(BATCH, "cpu")
    assert_close(image, BATCH["image"])
    assert isinstance(target, RaterMasks)
    assert_close(target, RaterMasks(BATCH["label"], BATCH["rater_weights"]))
    assert positional == ()
    assert named["samples_per_expert"] == 3


def test_the_augmentation_moves_image_and_masks():
    def flip(maps: dict[str, Any]) -> dict[str, Any]:
        return maps | {key: maps[key].flip(-1) for key in ("image", "label")}

    image, target, _, _ = MultiRaterBatch(augmentation=flip)(BATCH, "cpu")
    assert_close(image, BATCH["image"].flip(-1))
    assert_close(target.masks, BATCH["label"].flip(-1))


def test_codes_follow_from_seed_and_epoch():
    first, second = MultiRaterBatch(seed=1), MultiRaterBatch(seed=1)
    for batch in (first, second):
        batch.set_epoch(4)
    assert_close(draw(first), draw(second))
    second.set_epoch(5)
    assert not torch.equal(draw(first), draw(second))


def test_codes_differ_between_the_batches_of_an_epoch():
    batch = MultiRaterBatch()
    assert not torch.equal(draw(batch), draw(batch))


def test_fixed_codes_are_the_same_for_every_batch_and_epoch():
    batch = MultiRaterBatch(fixed=True)
    first = draw(batch)
    batch.set_epoch(7)
    assert_close(draw(batch), first)


def test_global_random_state_is_not_touched():
    state = torch.get_rng_state()
    draw(MultiRaterBatch())
    assert torch.equal(torch.get_rng_state(), state)
