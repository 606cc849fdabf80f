from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from mose_med.inferers.lesions.volumes import volume_distribution, weighted_quantile


def test_equal_weights_give_numpys_quantiles():
    values = np.random.default_rng(0).normal(size=37)
    for share in (0.05, 0.5, 0.95):
        expected = np.quantile(values, share, method="inverted_cdf")
        assert weighted_quantile(values, np.full(37, 1 / 37), share) == expected


def test_moments_are_weighted_by_expert():
    volumes = np.array([[0.0, 1.0], [2.0, 4.0]])
    result = volume_distribution(volumes, np.array([0.2, 0.8]))
    np.testing.assert_allclose(result.mean, 0.2 * 0.5 + 0.8 * 3)
    np.testing.assert_allclose(result.by_expert, [0.5, 3])
    np.testing.assert_allclose(result.p_empty, 0.1)
    assert (result.p05, result.p50, result.p95) == (0.0, 2.0, 4.0)


@settings(deadline=None)
@given(seed=st.integers(0, 1000))
def test_order_of_experts_and_samples_is_irrelevant(seed: int):
    rng = np.random.default_rng(seed)
    volumes, probs = rng.integers(0, 3, size=(3, 4)).astype(float), rng.dirichlet(np.ones(3))
    one, other = volume_distribution(volumes, probs), volume_distribution(volumes[::-1, ::-1], probs[::-1])
    np.testing.assert_allclose(one[2:], other[2:])


@given(st.lists(st.lists(st.integers(0, 5), min_size=3, max_size=3), min_size=1, max_size=4))
def test_a_sample_split_in_two_halves_of_its_weight_is_irrelevant(volumes: list[list[int]]):
    once = np.array(volumes, dtype=float)
    probs = np.full(len(once), 1 / len(once))
    first, twice = (volume_distribution(samples, probs) for samples in (once, np.repeat(once, 2, axis=1)))
    np.testing.assert_allclose(twice[2:-1], first[2:-1])


def test_quantiles_stand_on_the_further_samples_and_the_rest_on_those_that_are_kept():
    kept, more = np.array([[1.0, 3.0]]), np.linspace(0, 10, 101)[None]
    result = volume_distribution(kept, np.array([1.0]), more)
    np.testing.assert_allclose([result.p05, result.p50, result.p95], [0.5, 5.0, 9.5])
    assert (result.mean, result.p_empty, result.quantile_samples) == (2.0, 0.0, 101)
    assert volume_distribution(kept, np.array([1.0])).quantile_samples == 2
