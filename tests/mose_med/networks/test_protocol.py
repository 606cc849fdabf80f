"""The seam that every network goes through: deviates, fields and the optional members."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
import torch
from torch.testing import assert_close

from mose_med.errors import ConfigError, ShapeError
from mose_med.networks import MarginalMoSE, MoSE, NoiseField, RaterMasks
from mose_med.networks.priors import quadrature_deviates
from mose_med.networks.protocol import (
    checked_fields,
    default_samples,
    draw_fields,
    is_deterministic,
    noise_fields,
    require_stochastic,
    samples_of,
    standard_deviates,
)

WITHOUT_NOISE = SimpleNamespace(spatial_dims=2, in_channels=1, num_experts=1, noise_dim=0)
WITH_FIELD = SimpleNamespace(num_experts=2, noise_fields=(NoiseField("map", channels=3, stride=4),))


def small_mose(**settings: object) -> MoSE:
    return MoSE(channels=(4, 8), num_experts=3, latent_dim=2, **settings).eval()


def test_mose_is_a_function_of_standard_deviates():
    network, image, deviates = small_mose(), torch.rand(2, 1, 9, 8), torch.randn(3, 5, 2)
    priors = network.priors
    codes = priors.mean[:, None] + priors.std()[:, None] * deviates
    found, expected = network.samples_from(image, deviates), network(image, latents=codes)
    assert torch.equal(found.logits, expected.logits)
    assert torch.equal(found.expert_probs, expected.expert_probs)


def test_every_image_may_have_deviates_of_its_own():
    network, image, deviates = small_mose(), torch.rand(2, 1, 8, 8), torch.randn(2, 3, 1, 2)
    alone = network.samples_from(image[1:], deviates[1])
    assert_close(network.samples_from(image, deviates).logits[1:], alone.logits)


def test_the_marginal_network_takes_deviates_in_both_shapes():
    network, image = MarginalMoSE(channels=(4, 8), num_experts=2).eval(), torch.rand(2, 1, 8, 8)
    deviates = torch.randn(2, 3, 1)
    of_batch = network.samples_from(image, deviates.expand(2, -1, -1, -1))
    assert torch.equal(of_batch.logits, network.samples_from(image, deviates).logits)


def test_mose_looks_at_no_target():
    network, image = small_mose(), torch.rand(1, 1, 8, 8)
    target = RaterMasks(torch.ones(1, 2, 8, 8, dtype=torch.long), torch.full((1, 2), 0.5))
    with_target = network(image, generator=torch.Generator().manual_seed(0), target=target)
    assert torch.equal(with_target.logits, network(image, generator=torch.Generator().manual_seed(0)).logits)


@pytest.mark.parametrize("shape", [(3, 2), (2, 5, 2), (3, 5, 1), (3, 0, 2), (3, 3, 5, 2)])
def test_deviates_that_do_not_fit_are_refused(shape: tuple[int, ...]):
    with pytest.raises(
        ShapeError, match=r"deviates must be K x S x D or B x K x S x D with B=1, K=3, S >= 1, D=2, got"
    ):
        small_mose().samples_from(torch.rand(1, 1, 8, 8), torch.zeros(shape))


def test_a_network_without_noise_has_deviates_of_no_size():
    for choice in ("random", "stratified", "quadrature"):
        assert standard_deviates(WITHOUT_NOISE, 4, choice=choice).shape == (1, 1, 4, 0)
    assert is_deterministic(WITHOUT_NOISE)


def test_quadrature_deviates_are_the_same_for_every_expert():
    deviates = standard_deviates(small_mose(), 4, batch=2, choice="quadrature")
    assert torch.equal(deviates, quadrature_deviates(4, 2).expand(2, 3, 4, 2))


def test_random_deviates_follow_from_the_generator():
    one, other = (standard_deviates(small_mose(), 4, generator=torch.Generator().manual_seed(1)) for _ in range(2))
    assert torch.equal(one, other)


def test_a_choice_of_deviates_that_does_not_exist_is_refused():
    with pytest.raises(ConfigError, match="codes must be one of random, stratified, quadrature, got 'sobol'"):
        standard_deviates(WITHOUT_NOISE, 1, choice="sobol")
    with pytest.raises(ConfigError, match="samples_per_expert must be >= 1, got 0"):
        standard_deviates(WITHOUT_NOISE, 0)


def test_fields_are_zero_where_none_are_given():
    (field,) = checked_fields(WITH_FIELD, None, torch.rand(2, 1, 9, 8), samples=5)
    assert field.shape == (2, 2, 5, 3, 3, 2)
    assert not field.any()


def test_drawn_fields_fit_and_others_are_refused():
    image = torch.rand(2, 1, 9, 8)
    fields = draw_fields(WITH_FIELD, image, 5, torch.Generator().manual_seed(0))
    assert torch.equal(checked_fields(WITH_FIELD, fields, image, 5)[0], fields[0])
    with pytest.raises(ShapeError, match="fields must have the shapes"):
        checked_fields(WITH_FIELD, fields, image, 4)


def test_optional_members_have_defaults():
    assert noise_fields(WITHOUT_NOISE) == ()
    assert default_samples(WITHOUT_NOISE) == 4
    assert default_samples(small_mose(samples_per_expert=7)) == 7
    assert small_mose(experts="deterministic").is_deterministic
    assert not is_deterministic(small_mose())


def test_a_network_that_lacks_a_member_is_refused():
    with pytest.raises(ConfigError, match="network Linear must have the attribute spatial_dims"):
        require_stochastic(torch.nn.Linear(1, 1))
    require_stochastic(small_mose())


def test_fields_are_handed_to_a_network_that_declares_some():
    calls = []
    network = SimpleNamespace(noise_fields=WITH_FIELD.noise_fields, samples_from=lambda *given: calls.append(given))
    samples_of(network, torch.zeros(1), torch.zeros(2))
    samples_of(network, torch.zeros(1), torch.zeros(2), (torch.zeros(3),))
    assert calls[0][2] is None
    assert calls[1][2][0].shape == (3,)
