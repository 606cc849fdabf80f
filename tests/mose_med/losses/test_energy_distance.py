from __future__ import annotations

import pytest
import torch
from torch import Tensor
from torch.testing import assert_close

from mose_med.errors import ConfigError
from mose_med.losses import ExpertSamples, OptimalTransportLoss, RaterMasks, WeightedSamples, energy_distance
from mose_med.metrics import generalized_energy_distance

HARD = 60.0


def random_sets(seed: int, classes: int = 2, *, scale: float = 3.0) -> tuple[WeightedSamples, RaterMasks]:
    generator = torch.Generator().manual_seed(seed)
    logits = scale * torch.randn(2, 6, classes, 5, 4, generator=generator, dtype=torch.float64)
    weights = torch.softmax(torch.randn(2, 3, generator=generator, dtype=torch.float64), dim=1) / 2
    masks = torch.randint(0, classes, (2, 4, 5, 4), generator=generator)
    rater_weights = torch.softmax(torch.randn(2, 4, generator=generator, dtype=torch.float64), dim=1)
    return WeightedSamples(logits, weights.repeat_interleave(2, dim=1)), RaterMasks(masks, rater_weights)


def hard_logits(masks: Tensor, classes: int) -> Tensor:
    return HARD * torch.nn.functional.one_hot(masks, classes).movedim(-1, 2).double()


@pytest.mark.parametrize("classes", [2, 3])
def test_equals_the_metric_on_hard_masks(classes: int):
    samples, raters = random_sets(0, classes)
    masks = samples.logits.argmax(dim=2)
    hard = WeightedSamples(hard_logits(masks, classes), samples.weights)
    loss = energy_distance(hard, raters, smoothing=0.0, fair=False)
    labels = tuple(range(1, classes))
    metric = generalized_energy_distance(masks, raters.masks, samples.weights, raters.weights, labels)
    assert_close(loss.float(), metric, atol=1e-5, rtol=0)


def test_empty_masks_are_equal_without_smoothing():
    logits = hard_logits(torch.zeros(1, 2, 5, 4, dtype=torch.long), 2)
    samples = WeightedSamples(logits, torch.full((1, 2), 0.5, dtype=torch.float64))
    raters = RaterMasks(torch.zeros(1, 3, 5, 4, dtype=torch.long), torch.full((1, 3), 1 / 3, dtype=torch.float64))
    exact = WeightedSamples(logits * 1e3, samples.weights)
    assert_close(energy_distance(exact, raters, smoothing=0.0), torch.zeros(1, dtype=torch.float64))


@pytest.mark.parametrize("fair", [False, True])
def test_gradient_equals_finite_differences(fair: bool):
    samples, raters = random_sets(1, scale=1.0)

    def of_inputs(logits: Tensor, weights: Tensor) -> Tensor:
        return energy_distance(WeightedSamples(logits, weights), raters, samples_per_expert=2, fair=fair)

    inputs = (samples.logits.clone().requires_grad_(), samples.weights.clone().requires_grad_())
    assert torch.autograd.gradcheck(of_inputs, inputs, fast_mode=False)


def test_fair_pairs_are_the_mean_over_distinct_samples_of_an_expert():
    samples, raters = random_sets(2)
    one = WeightedSamples(samples.logits, torch.full((2, 6), 1 / 6, dtype=torch.float64))
    biased, fair = (energy_distance(one, raters, samples_per_expert=6, fair=fair) for fair in (False, True))
    probs = one.logits.softmax(dim=2)[:, :, 1].flatten(2)
    pairs = [(probs[:, i], probs[:, j]) for i in range(6) for j in range(6)]
    index = [(torch.minimum(p, q).sum(1) + 1) / (torch.maximum(p, q).sum(1) + 1) for p, q in pairs]
    total = torch.stack(index, dim=1).neg().add(1).sum(dim=1)
    assert_close(biased - fair, total / (6 * 5) - total / 36)


@pytest.mark.parametrize("share", [0.1, 0.5, 0.8])
def test_true_probabilities_are_the_best_ones(share: float):
    """Proper: of weights of the two masks that raters draw, the raters' own share is the least distance."""
    masks = torch.zeros(1, 2, 6, 6, dtype=torch.long)
    masks[0, 0, :3], masks[0, 1, 2:] = 1, 1
    raters = RaterMasks(masks, torch.tensor([[share, 1 - share]], dtype=torch.float64))
    grid = torch.linspace(0, 1, 101, dtype=torch.float64)
    found = [
        energy_distance(WeightedSamples(hard_logits(masks, 2), torch.stack([w, 1 - w])[None]), raters) for w in grid
    ]
    assert grid[int(torch.cat(found).argmin())] == pytest.approx(share)


def test_blur_does_not_pay():
    """The distance of a soft mask from itself is 0: samples at both modes beat their average."""
    masks = torch.zeros(1, 2, 6, 6, dtype=torch.long)
    masks[0, 0, :3], masks[0, 1, 2:] = 1, 1
    raters = RaterMasks(masks, torch.full((1, 2), 0.5, dtype=torch.float64))
    sharp = hard_logits(masks, 2)
    mean = sharp.softmax(dim=2).mean(dim=1, keepdim=True).clamp_min(1e-12).log().expand_as(sharp)
    weights = torch.full((1, 2), 0.5, dtype=torch.float64)
    of_sharp, of_mean = (energy_distance(WeightedSamples(logits, weights), raters) for logits in (sharp, mean))
    assert of_sharp < 1e-6 < 0.1 < of_mean


def test_order_of_samples_and_raters_is_irrelevant():
    samples, raters = random_sets(3)
    swapped = WeightedSamples(samples.logits[:, [4, 5, 0, 1, 3, 2]], samples.weights[:, [4, 5, 0, 1, 3, 2]])
    others = RaterMasks(raters.masks[:, [2, 0, 3, 1]], raters.weights[:, [2, 0, 3, 1]])
    assert_close(
        energy_distance(swapped, others, samples_per_expert=2), energy_distance(samples, raters, samples_per_expert=2)
    )


def test_the_loss_mixes_transport_and_energy():
    samples, raters = random_sets(4)
    experts = ExpertSamples(samples.logits.view(2, 3, 2, 2, 5, 4), samples.weights[:, ::2] * 2)
    loss = OptimalTransportLoss(energy=0.25)
    total = loss(experts, raters)
    parts = loss.components
    assert_close(total, 0.75 * (parts["transport"] + parts["kl"]) + 0.25 * parts["energy"])
    assert_close(parts["energy"], energy_distance(samples, raters, samples_per_expert=2).mean())
    loss.energy = 0.0
    assert_close(loss(experts, raters), OptimalTransportLoss()(experts, raters))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"energy": 1.5}, r"energy must be in \[0, 1\], got 1.5"),
        ({"energy": 0.5, "ignore_index": 9}, "energy must be 0 with ignore_index=9, got 0.5"),
    ],
)
def test_settings_that_do_not_fit_are_refused(settings: dict[str, float], message: str):
    samples, raters = random_sets(5)
    with pytest.raises(ConfigError, match=message):
        OptimalTransportLoss(**settings)(samples, raters)
