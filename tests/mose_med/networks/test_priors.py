from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from mose_med.errors import ConfigError
from mose_med.networks import MoSE
from mose_med.networks.priors import ExpertPriors, quadrature_deviates, stratified_deviates


def test_means_begin_at_the_corners_of_the_unit_cube():
    means = ExpertPriors(num_experts=6, latent_dim=2).mean
    assert means[:4].tolist() == [[0, 0], [0, 1], [1, 0], [1, 1]]
    assert ((means[4:] >= 0) & (means[4:] <= 1)).all()


def test_fewer_experts_than_corners():
    assert ExpertPriors(num_experts=3, latent_dim=3).mean.tolist() == [[0, 0, 0], [0, 0, 1], [0, 1, 0]]


def test_draws_follow_mean_and_deviation():
    priors = ExpertPriors(num_experts=2, latent_dim=1)
    codes = priors.draw(4000, batch=1, generator=torch.Generator().manual_seed(0))[0, :, :, 0]
    torch.testing.assert_close(codes.mean(dim=1), torch.tensor([0.0, 1.0]), atol=0.01, rtol=0)
    torch.testing.assert_close(codes.std(dim=1), torch.full((2,), 0.125), atol=0.005, rtol=0)


def test_each_image_gets_codes_of_its_own():
    codes = ExpertPriors(num_experts=2, latent_dim=1).draw(3, batch=2)
    assert codes.shape == (2, 2, 3, 1)
    assert not torch.equal(codes[0], codes[1])


def test_draw_from_follows_the_named_experts():
    priors = ExpertPriors(num_experts=2, latent_dim=1)
    priors.log_std.data.fill_(-30.0)
    torch.testing.assert_close(priors.draw_from(torch.tensor([[1, 0, 1]]))[0, :, 0], torch.tensor([1.0, 0.0, 1.0]))


def test_stratified_deviates_fill_every_part_once():
    drawn = stratified_deviates((3, 2, 8, 2), torch.Generator().manual_seed(0))
    parts = (torch.special.ndtr(drawn.double()) * 8).floor().long()
    assert parts.sort(dim=2).values.eq(torch.arange(8)[:, None]).all()


def test_a_stratified_deviate_by_itself_is_normal():
    drawn = stratified_deviates((4000, 1, 4, 1), torch.Generator().manual_seed(0))
    assert stats.kstest(drawn[:, 0, 2, 0].numpy(), "norm").pvalue > 0.01


def test_codes_of_a_network_are_chosen_by_name():
    network, image = MoSE(channels=(4, 8), num_experts=2).eval(), torch.zeros(1, 1, 8, 8)
    codes = network.priors.draw(4, 1, choice="quadrature")
    torch.testing.assert_close(network(image, codes="quadrature").logits, network(image, latents=codes).logits)
    with pytest.raises(ConfigError, match="codes must be one of random, stratified, quadrature, got 'even'"):
        network(image, codes="even")


@pytest.mark.parametrize(("samples", "variance"), [(1, 0.0), (4, 0.712), (10, 0.880), (25, 0.951), (100, 0.987)])
@pytest.mark.parametrize("latent_dim", [1, 3])
def test_variance_of_the_mid_quantiles_is_as_documented(samples: int, variance: float, latent_dim: int):
    found = quadrature_deviates(samples, latent_dim).square().mean(dim=0)
    torch.testing.assert_close(found, torch.full((latent_dim,), variance), atol=1e-3, rtol=0)


@given(samples=st.integers(1, 60), latent_dim=st.integers(1, 5))
def test_points_are_symmetric_about_zero_and_always_the_same(samples: int, latent_dim: int):
    points = quadrature_deviates(samples, latent_dim)
    torch.manual_seed(samples)
    assert points.shape == (samples, latent_dim)
    torch.testing.assert_close(points, quadrature_deviates(samples, latent_dim), atol=0, rtol=0)
    torch.testing.assert_close(points.sort(dim=0).values, -points.sort(dim=0, descending=True).values, atol=0, rtol=0)
    mirrored = {tuple(row) for row in (-points + 0.0).tolist()}
    assert mirrored == {tuple(row) for row in (points + 0.0).tolist()}


def test_points_lie_in_the_middle_of_intervals_of_equal_probability():
    shares = torch.special.ndtr(quadrature_deviates(8, 1).double()[:, 0])
    torch.testing.assert_close(shares, (torch.arange(8, dtype=torch.float64) + 0.5) / 8, atol=1e-6, rtol=0)


def test_points_of_several_dimensions_fill_the_space():
    points = quadrature_deviates(64, 2)
    quadrants = torch.bincount(2 * (points[:, 0] > 0).long() + (points[:, 1] > 0).long(), minlength=4)
    assert quadrants.min() >= 12
    assert abs(torch.corrcoef(points.T)[0, 1]) < 0.2


def test_codes_at_deviates_are_those_of_every_expert():
    priors = ExpertPriors(num_experts=2, latent_dim=1)
    codes = priors.at(torch.tensor([[-1.0], [0.0], [2.0]]))
    torch.testing.assert_close(codes[..., 0], torch.tensor([[-0.125, 0.0, 0.25], [0.875, 1.0, 1.25]]))


def test_a_global_random_state_is_left_alone():
    torch.manual_seed(3)
    state = torch.get_rng_state()
    quadrature_deviates(8, 3)
    torch.testing.assert_close(torch.get_rng_state(), state)
