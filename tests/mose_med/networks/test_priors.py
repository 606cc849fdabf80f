from __future__ import annotations

import pytest
import torch
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


@pytest.mark.parametrize("samples", [1, 2, 4, 25])
def test_quadrature_points_of_one_dimension_are_the_mid_quantiles(samples: int):
    expected = stats.norm.ppf([(index + 0.5) / samples for index in range(samples)])
    torch.testing.assert_close(quadrature_deviates(samples, 1)[:, 0], torch.tensor(expected, dtype=torch.float32))


def test_quadrature_points_of_several_dimensions_are_fixed_and_spread():
    points = quadrature_deviates(256, 3)
    torch.testing.assert_close(points, quadrature_deviates(256, 3), atol=0, rtol=0)
    torch.testing.assert_close(points.mean(dim=0), torch.zeros(3), atol=0.02, rtol=0)
    torch.testing.assert_close(points.std(dim=0), torch.ones(3), atol=0.03, rtol=0)


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
