from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from mose_med.report.histogram import volume_histogram

volumes = hnp.arrays(np.float64, (3, 4), elements=st.one_of(st.just(0.0), st.floats(1e-3, 1e3)))
weights = hnp.arrays(np.float64, 3, elements=st.floats(0.01, 1))


@given(volumes, weights)
def test_bins_and_empty_samples_add_up_to_one(samples_ml, expert_probs):
    histogram = volume_histogram(samples_ml, expert_probs)
    shares = expert_probs / expert_probs.sum()
    np.testing.assert_allclose(histogram.by_expert.sum(axis=1) + histogram.empty, shares)
    assert histogram.edges_ml[0] == 0
    assert histogram.edges_ml[-1] >= samples_ml.max()


@given(volumes, weights)
def test_each_sample_is_in_its_bin(samples_ml, expert_probs):
    histogram = volume_histogram(samples_ml, expert_probs, bins=5)
    edges, share = histogram.edges_ml, expert_probs / expert_probs.sum() / 4
    for k, b in np.ndindex(3, 5):
        below_top = (samples_ml[k] < edges[b + 1]) | (b == 4)
        inside = (samples_ml[k] > 0) & (samples_ml[k] >= edges[b]) & below_top
        np.testing.assert_allclose(histogram.by_expert[k, b], inside.sum() * share[k], atol=1e-12)


def test_empty_samples_are_counted_apart():
    histogram = volume_histogram(np.array([[0.0, 0.0], [0.0, 1.0]]), np.array([0.8, 0.2]))
    np.testing.assert_allclose(histogram.empty, (0.8, 0.1))
    np.testing.assert_allclose(histogram.by_expert.sum(axis=1), (0.0, 0.1))


def test_nothing_but_empty_samples_has_bins_too():
    histogram = volume_histogram(np.zeros((2, 2)), np.array([0.5, 0.5]))
    assert histogram.by_expert.sum() == 0
    assert histogram.edges_ml[-1] == 1
