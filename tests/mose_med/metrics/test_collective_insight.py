from __future__ import annotations

import pytest
import torch

from mose_med.metrics import collective_insight, maximum_dice


def random_set(seed: int, members: int) -> torch.Tensor:
    return torch.randint(0, 2, (2, members, 4, 5), generator=torch.Generator().manual_seed(seed))


def test_equals_its_parts_written_out():
    masks, raters = random_set(0, 4), random_set(1, 3)
    found = collective_insight(masks, raters)
    predicted, marked = masks.bool().any(dim=1), raters.bool().any(dim=1)
    sensitivity = (predicted & marked).sum(dim=(1, 2)) / marked.sum(dim=(1, 2))
    best = maximum_dice(masks, raters)
    torch.testing.assert_close(found.combined_sensitivity, sensitivity)
    torch.testing.assert_close(found.maximum_dice, best)
    expected = 3 / (1 / sensitivity + 1 / best + 1 / found.diversity_agreement)
    torch.testing.assert_close(found.score, expected)


def test_diversity_agreement_compares_the_ranges_of_distance():
    raters = torch.tensor([[[1, 1, 0, 0], [1, 0, 0, 0], [0, 0, 1, 1]]])
    masks = torch.tensor([[[1, 1, 0, 0], [1, 1, 0, 0]]])
    assert collective_insight(masks, raters).diversity_agreement.item() == pytest.approx(1 - (0.5 + 1.0) / 2)


def test_equal_sets_score_one_even_if_empty():
    masks = random_set(2, 3)
    torch.testing.assert_close(collective_insight(masks, masks).score, torch.ones(2))
    assert collective_insight(masks * 0, masks * 0).score.tolist() == [1.0, 1.0]


def test_disjoint_masks_score_nothing():
    found = collective_insight(torch.tensor([[[1, 0]]]), torch.tensor([[[0, 1]]]))
    assert found.score.item() == 0.0


def test_a_member_of_weight_zero_is_not_there():
    masks, raters = random_set(3, 3), random_set(4, 3)
    weights = torch.tensor([[0.5, 0.5, 0.0]] * 2)
    found = collective_insight(masks, raters, weights, weights)
    for part, expected in zip(found, collective_insight(masks[:, :2], raters[:, :2]), strict=True):
        torch.testing.assert_close(part, expected)


def test_an_image_without_any_of_several_classes_has_no_score():
    masks = torch.tensor([[[1, 2, 0]], [[0, 0, 0]]])
    found = collective_insight(masks, masks, classes=(1, 2)).score
    torch.testing.assert_close(found, torch.tensor([1.0, float("nan")]), equal_nan=True)
