from __future__ import annotations

import pytest
import torch

from mose_med.errors import ConfigError
from mose_med.losses import ExpertSamples, OptimalTransportLoss, StandardFormLoss, gumbel_standard_form


def numbered_samples(probs: list[float], samples: int) -> ExpertSamples:
    """Sample s of expert k is the constant 10 k + s."""
    experts = len(probs)
    values = 10.0 * torch.arange(experts)[:, None] + torch.arange(samples)
    return ExpertSamples(
        values[None, :, :, None, None].expand(1, experts, samples, 2, 3).clone(), torch.tensor([probs])
    )


def test_every_sample_is_one_of_an_expert():
    drawn = gumbel_standard_form(numbered_samples([0.2, 0.3, 0.5], 9), 0.7, torch.Generator().manual_seed(0))
    values = drawn.logits[0, :, 0, 0].round().long()
    assert (values % 10).tolist() == list(range(9))
    assert set((values // 10).tolist()) <= {0, 1, 2}
    torch.testing.assert_close(drawn.weights, torch.full((1, 9), 1 / 9))


@pytest.mark.parametrize("temperature", [0.1, 2.0])
def test_experts_are_drawn_by_their_probability(temperature: float):
    samples = ExpertSamples(
        torch.arange(3.0)[None, :, None, None, None].expand(1, 3, 20_000, 2, 1), torch.tensor([[0.1, 0.3, 0.6]])
    )
    drawn = (
        gumbel_standard_form(samples, temperature, torch.Generator().manual_seed(1)).logits[0, :, 0, 0].round().long()
    )
    shares = torch.bincount(drawn, minlength=3) / 20_000
    torch.testing.assert_close(shares, torch.tensor([0.1, 0.3, 0.6]), atol=0.015, rtol=0)


def test_the_gradient_is_that_of_the_soft_draw():
    samples = numbered_samples([0.2, 0.8], 3)
    scores = samples.expert_probs.log().requires_grad_()
    factors = torch.tensor([1.0, -2.0, 0.5])

    def value(soft: bool) -> torch.Tensor:
        generator = torch.Generator().manual_seed(2)
        if not soft:
            drawn = gumbel_standard_form(ExpertSamples(samples.logits, scores.exp()), 0.5, generator)
            return (drawn.logits[0, :, 0, 0] * factors).sum()
        uniform = torch.rand(1, 2, 3, generator=generator)
        gumbel = -(-uniform.log()).log()
        choice = ((scores[:, :, None] + gumbel) / 0.5).softmax(dim=1)
        return ((choice * samples.logits[..., 0, 0]).sum(dim=1)[0] * factors).sum()

    found, expected = (torch.autograd.grad(value(soft), scores)[0] for soft in (False, True))
    torch.testing.assert_close(found, expected, atol=1e-4, rtol=1e-4)


def test_loss_reaches_samples_and_gating():
    logits = torch.randn(2, 3, 4, 2, 5, generator=torch.Generator().manual_seed(0)).requires_grad_()
    scores = torch.zeros(2, 3, requires_grad=True)
    loss = StandardFormLoss(OptimalTransportLoss(gamma=0.5), temperature=0.8)
    loss(ExpertSamples(logits, scores.softmax(dim=1)), torch.ones(2, 2, 5, dtype=torch.long)).backward()
    assert logits.grad.any()
    assert scores.grad.any()
    assert set(loss.components) == {"transport", "kl"}


def test_an_epoch_draws_the_same_again():
    samples = ExpertSamples(
        torch.randn(1, 3, 4, 2, 5, generator=torch.Generator().manual_seed(0)), torch.full((1, 3), 1 / 3)
    )
    loss = StandardFormLoss(OptimalTransportLoss(), seed=3)
    masks = torch.ones(1, 1, 5, dtype=torch.long)
    first, values = loss(samples, masks), []
    for epoch in (0, 1):
        loss.set_epoch(epoch)
        values.append(loss(samples, masks))
    assert values[0] == first
    assert values[1] != first


def test_processes_draw_for_themselves_and_apart_from_the_latent_codes():
    from mose_med.data import MultiRaterBatch

    losses = [StandardFormLoss(OptimalTransportLoss(), seed=3, rank=rank) for rank in (0, 1, 1)]
    for loss in losses:
        loss.set_epoch(5)
    seeds = [loss._generator.initial_seed() for loss in losses]
    codes = [MultiRaterBatch(seed=3, rank=rank) for rank in (0, 1)]
    for batch in codes:
        batch.set_epoch(5)
    assert seeds[0] != seeds[1] == seeds[2]
    assert not set(seeds) & {batch._generator.initial_seed() for batch in codes}


def test_a_certain_expert_has_finite_gradients():
    probs = torch.tensor([[1.0, 0.0]], requires_grad=True)
    samples = numbered_samples([1.0, 0.0], 3)
    gumbel_standard_form(ExpertSamples(samples.logits, probs), 0.5).logits.sum().backward()
    assert probs.grad.isfinite().all()


@pytest.mark.parametrize("temperature", [0.0, -1.0])
def test_wrong_temperature_is_named(temperature: float):
    with pytest.raises(ConfigError, match=f"temperature must be > 0, got {temperature}"):
        StandardFormLoss(OptimalTransportLoss(), temperature)
