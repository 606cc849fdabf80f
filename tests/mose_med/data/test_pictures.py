from __future__ import annotations

import pytest
import torch

from mose_med.data.pictures import picture_augmentation, picture_centre
from mose_med.errors import ConfigError


def scene() -> dict[str, torch.Tensor]:
    """A picture whose first channel is its label map."""
    label = torch.randint(0, 20, (1, 20, 40), generator=torch.Generator().manual_seed(0), dtype=torch.uint8)
    label = label.repeat_interleave(4, dim=1).repeat_interleave(4, dim=2)
    return {"image": label.float(), "label": label}


def test_picture_and_labels_are_moved_alike():
    transform = picture_augmentation((80, 80), probability=1.0, crop_shares=[1.0])
    moved = transform.set_random_state(seed=3)(scene())
    torch.testing.assert_close(moved["image"], moved["label"].float(), rtol=0, atol=1e-4)
    assert (moved["label"].shape, moved["label"].dtype) == ((1, 80, 80), torch.uint8)


def test_every_share_comes_and_labels_stay_labels():
    transform, shapes = picture_augmentation((16, 16), crop_shares=[0.25, 1.0]), set()
    crop = transform.transforms[1]
    for seed in range(8):
        moved = transform.set_random_state(seed=seed)(scene())
        assert set(moved["label"].unique().tolist()) <= set(range(20))
        shapes.add(crop._side)
    assert shapes == {20, 80}


def test_the_same_seed_cuts_the_same():
    first, second = (picture_augmentation((16, 16)).set_random_state(seed=5)(scene()) for _ in range(2))
    torch.testing.assert_close(first, second, rtol=0, atol=0)


def test_validation_sees_the_middle():
    given = scene()
    torch.testing.assert_close(picture_centre((16, 16))(given)["label"], given["label"][:, 32:48, 72:88])


@pytest.mark.parametrize("shares", [[], [0.0], [1.5]])
def test_shares_out_of_range_are_refused(shares: list[float]):
    with pytest.raises(ConfigError, match=r"crop_shares must be numbers in \(0, 1\], at least one, got"):
        picture_augmentation((16, 16), crop_shares=shares)
