from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from mose_med.errors import ShapeError
from mose_med.metrics import generalized_energy_distance, pairwise_iou, sample_diversity


def random_set(seed: int, members: int, classes: int = 2, batch: int = 2) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    masks = torch.randint(0, classes, (batch, members, 4, 5), generator=generator)
    return masks, torch.softmax(torch.randn(batch, members, generator=generator, dtype=torch.float64), dim=1)


def expectation(a: np.ndarray, b: np.ndarray, u: np.ndarray, v: np.ndarray, classes: tuple[int, ...]) -> float:
    """E d over all pairs, one by one; pairs without any class are left out."""
    total = mass = 0.0
    for i in range(len(a)):
        for j in range(len(b)):
            iou = pairwise_iou(torch.as_tensor(a[i])[None, None], torch.as_tensor(b[j])[None, None], classes).item()
            if not np.isnan(iou):
                total += u[i] * v[j] * (1 - iou)
                mass += u[i] * v[j]
    return total / mass if mass else float("nan")


@pytest.mark.parametrize("classes", [(1,), (1, 2), (3, 4, 5)])
def test_equals_the_equation_pair_by_pair(classes: tuple[int, ...]):
    (masks, u), (raters, v) = random_set(0, 5, classes=4), random_set(1, 3, classes=4)
    if 5 in classes:
        masks[masks == 3] = 0
        masks[0, 0, 0, 0] = 5
    expected = []
    for s, y, p, q in zip(masks.numpy(), raters.numpy(), u.numpy(), v.numpy(), strict=True):
        cross, spread = expectation(s, y, p, q, classes), expectation(y, y, q, q, classes)
        expected.append(2 * cross - spread - np.nan_to_num(expectation(s, s, p, p, classes)))
    found = generalized_energy_distance(masks, raters, u, v, classes)
    torch.testing.assert_close(found, torch.tensor(expected, dtype=torch.float32), equal_nan=True)


def test_equal_sets_have_distance_zero():
    masks, weights = random_set(2, 4)
    found = generalized_energy_distance(masks, masks.clone(), weights, weights)
    torch.testing.assert_close(found, torch.zeros(2), atol=1e-6, rtol=0)


def test_one_sample_against_disjoint_masks():
    raters = torch.eye(4, dtype=torch.int64)[None, 1:]
    sample = torch.tensor([[[1, 0, 0, 0]]])
    torch.testing.assert_close(generalized_energy_distance(sample, raters), torch.tensor([2 - 2 / 3]))


def test_weights_default_to_equal_ones():
    (masks, _), (raters, _) = random_set(3, 4), random_set(4, 2)
    equal, half = torch.full((2, 4), 0.25), torch.full((2, 2), 0.5)
    torch.testing.assert_close(
        generalized_energy_distance(masks, raters), generalized_energy_distance(masks, raters, equal, half)
    )


@settings(deadline=None, max_examples=25)
@given(seed=st.integers(0, 1000), order=st.permutations(range(5)), member=st.integers(0, 4))
def test_order_and_splitting_a_sample_change_nothing(seed: int, order: list[int], member: int):
    (masks, u), (raters, v) = random_set(seed, 5), random_set(seed + 1, 3)
    expected = generalized_energy_distance(masks, raters, u, v)
    torch.testing.assert_close(generalized_energy_distance(masks[:, order], raters, u[:, order], v), expected)
    twice, halves = torch.cat([masks, masks[:, [member]]], dim=1), torch.cat([u, u[:, [member]] / 2], dim=1)
    halves[:, member] /= 2
    torch.testing.assert_close(generalized_energy_distance(twice, raters, halves, v), expected)


@settings(deadline=None, max_examples=25)
@given(seed=st.integers(0, 1000))
def test_is_symmetric_and_not_negative(seed: int):
    (masks, u), (raters, v) = random_set(seed, 5), random_set(seed + 1, 3)
    found = generalized_energy_distance(masks, raters, u, v)
    assert (found > -1e-6).all()
    torch.testing.assert_close(generalized_energy_distance(raters, masks, v, u), found)


def test_a_rater_of_weight_zero_is_dropped():
    (masks, u), (raters, v) = random_set(5, 4), random_set(6, 3)
    padded = torch.cat([raters, torch.ones_like(raters[:, :1])], dim=1)
    zero = torch.cat([v, torch.zeros(2, 1, dtype=torch.float64)], dim=1)
    expected = generalized_energy_distance(masks, raters, u, v)
    torch.testing.assert_close(generalized_energy_distance(masks, padded, u, zero), expected)


def test_without_self_pairs_the_spread_is_a_mean_over_different_masks():
    masks, _ = random_set(7, 4, batch=1)
    distance = 1 - pairwise_iou(masks, masks)[0]
    expected = (distance.sum() - distance.diagonal().sum()) / 12
    torch.testing.assert_close(sample_diversity(masks, include_self_pairs=False), expected[None])


def test_without_self_pairs_one_mask_has_no_spread():
    masks, _ = random_set(8, 2, batch=1)
    weights = torch.tensor([[1.0, 0.0]])
    assert sample_diversity(masks, weights, include_self_pairs=False).item() == 0.0


def test_diversity_is_the_expected_distance_of_two_draws():
    masks, weights = random_set(9, 4)
    expected = [
        expectation(m.numpy(), m.numpy(), w.numpy(), w.numpy(), (1,)) for m, w in zip(masks, weights, strict=True)
    ]
    torch.testing.assert_close(sample_diversity(masks, weights), torch.tensor(expected, dtype=torch.float32))


def test_samples_that_miss_every_class_are_scored_as_the_worst_not_left_out():
    masks, raters = torch.zeros(1, 3, 4, dtype=torch.int64), torch.tensor([[[1, 1, 0, 0], [0, 0, 2, 2]]])
    spread = expectation(*(raters[0].numpy(),) * 2, *(np.full(2, 0.5),) * 2, (1, 2))
    assert generalized_energy_distance(masks, raters, classes=(1, 2)).item() == pytest.approx(2 - spread)
    assert generalized_energy_distance(raters, masks, classes=(1, 2)).item() == pytest.approx(2 - spread)


def test_an_image_without_any_of_the_classes_is_nan():
    masks = torch.zeros(1, 2, 3, dtype=torch.int64)
    assert generalized_energy_distance(masks, masks, classes=(1, 2)).isnan().all()


@pytest.mark.parametrize(
    ("weights", "message"),
    [
        (torch.tensor([[0.5, 0.6]]), r"weights must sum to 1 for each image, got 1\.1"),
        (torch.tensor([[1.5, -0.5]]), r"weights must be >= 0, got -0\.5"),
        (torch.tensor([[0.5, float("nan")]]), "weights must be >= 0, got nan"),
        (torch.tensor([[1.0]]), r"weights must have shape \(1, 2\), got \(1, 1\)"),
    ],
)
def test_wrong_weights_are_named(weights: torch.Tensor, message: str):
    masks = torch.ones(1, 2, 3, dtype=torch.int64)
    with pytest.raises(ShapeError, match=message):
        generalized_energy_distance(masks, masks, weights)


def test_soft_masks_are_refused():
    masks = torch.ones(1, 2, 3)
    with pytest.raises(
        ShapeError, match=r"masks must be integer class maps, got torch\.float32: take the argmax first"
    ):
        generalized_energy_distance(masks, masks)
