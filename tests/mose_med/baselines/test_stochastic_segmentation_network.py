from __future__ import annotations

import math

import pytest
import torch

from mose_med.baselines.stochastic_segmentation_network import (
    DrawnSamples,
    StochasticSegmentationLoss,
    StochasticSegmentationNetwork,
)
from mose_med.errors import ConfigError
from mose_med.samples import ExpertSamples, RaterMasks
from tests.mose_med.baselines.toy import seeded, shares_of_modes, trained, two_raters


def small_network(**settings: object) -> StochasticSegmentationNetwork:
    torch.manual_seed(0)
    return StochasticSegmentationNetwork(**{"channels": (8, 12), "rank": 2, **settings}).eval()


def test_covariance_of_the_samples_is_that_of_factor_and_diagonal():
    network, image = small_network(), torch.randn(1, 1, 2, 3, generator=seeded())
    with torch.no_grad():
        found = network(image, samples_per_expert=40_000, generator=seeded()).logits[0, 0].flatten(1)
        mean, variance, factor = (part[0] for part in network.distribution(image))
    columns = factor.transpose(0, 1).flatten(1)
    expected = columns.t() @ columns + variance.flatten().diag()
    torch.testing.assert_close(found.mean(dim=0), mean.flatten(), rtol=0.0, atol=0.05)
    torch.testing.assert_close(found.t().cov(), expected, rtol=0.0, atol=0.05 * float(expected.diag().max()))


def test_without_fields_the_diagonal_is_left_out():
    network, image = small_network(), torch.randn(1, 1, 4, 4)
    zeros = torch.zeros(1, 3, network.noise_dim)
    logits = network.samples_from(image, zeros).logits
    torch.testing.assert_close(logits, network.distribution(image).mean[:, None, None].expand_as(logits))


def test_noise_of_a_voxel_changes_that_voxel_alone():
    network, image = small_network(), torch.randn(1, 1, 4, 4)
    field = torch.zeros(1, 1, 1, 2, 4, 4)
    field[..., 1, 2] = 1.0
    deviates = torch.zeros(1, 1, network.noise_dim)
    change = network.samples_from(image, deviates, [field]).logits - network.samples_from(image, deviates).logits
    assert change.nonzero()[:, -2:].unique(dim=0).tolist() == [[1, 2]]


def test_loss_is_the_mixture_of_the_samples_likelihoods():
    logits = torch.randn(2, 1, 3, 2, 4, 4, generator=seeded(), dtype=torch.float64)
    masks = torch.randint(0, 2, (2, 2, 4, 4), generator=seeded())
    raters = RaterMasks(masks, torch.tensor([[0.5, 0.5], [1.0, 0.0]]))
    rater = torch.tensor([1, 0])
    log_probs = logits[:, 0].log_softmax(dim=2)
    chosen = masks[torch.arange(2), rater]
    each = torch.where(chosen.unsqueeze(1).bool(), log_probs[:, :, 1], log_probs[:, :, 0]).sum(dim=(2, 3))
    expected = -(each.exp().mean(dim=1).log()).mean()
    output = DrawnSamples(ExpertSamples(logits, torch.ones(2, 1)), rater)
    torch.testing.assert_close(StochasticSegmentationLoss()(output, raters), expected)


@pytest.mark.parametrize("share", [0.25, 1.0])
def test_a_share_of_the_loss_is_the_mean_log_likelihood(share: float):
    logits = torch.randn(2, 1, 3, 2, 4, 4, generator=seeded(), dtype=torch.float64)
    raters = RaterMasks(torch.randint(0, 2, (2, 1, 4, 4), generator=seeded()), torch.ones(2, 1))
    output = DrawnSamples(ExpertSamples(logits, torch.ones(2, 1)), torch.zeros(2, dtype=torch.long))
    mixture = StochasticSegmentationLoss()(output, raters)
    mask = raters.masks[:, :, None].expand(-1, 3, 2, -1, -1) == torch.arange(2)[:, None, None]
    mean = -(logits[:, 0].log_softmax(dim=2) * mask).sum(dim=(2, 3, 4)).mean()
    found = StochasticSegmentationLoss(mean_share=share)(output, raters)
    torch.testing.assert_close(found, (1.0 - share) * mixture + share * mean)
    assert mixture < found <= mean


def test_all_raters_are_the_expectation_of_one():
    image, raters = two_raters(1, 8, seeded())
    samples = small_network()(image, generator=seeded())
    each = [StochasticSegmentationLoss()(DrawnSamples(samples, torch.tensor([r])), raters) for r in range(2)]
    both = StochasticSegmentationLoss(raters="all")(DrawnSamples(samples, torch.tensor([0])), raters)
    torch.testing.assert_close(both, sum(each) / 2)


def test_without_spread_every_sample_of_a_step_is_the_mean():
    network = small_network()
    network.spread = 0.0
    image, raters = two_raters(1, 8, seeded())
    logits = network(image, generator=seeded(), target=raters).samples.logits
    torch.testing.assert_close(logits, network.distribution(image).mean[:, None, None].expand_as(logits))


def test_before_training_samples_are_close_to_the_mean():
    network = small_network(channels=(32, 32), rank=10)
    with torch.no_grad():
        _, variance, factor = network.distribution(torch.randn(1, 1, 16, 16, generator=seeded()))
    assert float((factor.square().sum(dim=2) + variance).mean()) < 0.2


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_autocast_leaves_distribution_and_loss_in_single_precision(dtype: torch.dtype):
    network = small_network(channels=(8, 8))
    image, raters = two_raters(1, 128, seeded())
    loss = StochasticSegmentationLoss()
    exact = loss(network(image, generator=seeded(), target=raters), raters)
    with torch.autocast("cpu", dtype=dtype):
        output = network(image, generator=seeded(), target=raters)
        found = loss(output, raters)
    assert output.samples.logits.dtype == found.dtype == torch.float32
    torch.testing.assert_close(found, exact, rtol=0.02, atol=0.0)


def test_thousands_of_nats_do_not_underflow():
    logits = torch.zeros(1, 1, 2, 2, 128, 128)
    logits[0, 0, 1, 1] = -20.0
    output = DrawnSamples(ExpertSamples(logits, torch.ones(1, 1)), torch.tensor([0]))
    raters = RaterMasks(torch.ones(1, 1, 128, 128, dtype=torch.long), torch.ones(1, 1))
    found = StochasticSegmentationLoss()(output, raters)
    torch.testing.assert_close(found, torch.tensor(16384 * math.log(2) + math.log(2)), rtol=1e-5, atol=0.0)


def test_every_parameter_gets_a_gradient():
    network = small_network().train()
    image, raters = two_raters(2, 8)
    StochasticSegmentationLoss()(network(image, target=raters), raters).backward()
    assert [name for name, value in network.named_parameters() if not value.grad.abs().sum() > 0] == []


def test_a_choice_of_raters_that_does_not_exist_is_named():
    with pytest.raises(ConfigError, match="raters must be 'one' or 'all', got 'two'"):
        StochasticSegmentationLoss(raters="two")
    with pytest.raises(ConfigError, match=r"mean_share must be in \[0, 1\], got 1.5"):
        StochasticSegmentationLoss(mean_share=1.5)


def test_two_modes_are_learnt():
    network = small_network()
    trained(network, StochasticSegmentationLoss(), torch.optim.Adam(network.parameters(), 0.01), steps=80, side=16)
    with torch.no_grad():
        full, empty = shares_of_modes(network(two_raters(4, 16)[0], samples_per_expert=64, generator=seeded()))
    assert full > 0.2
    assert empty > 0.2
