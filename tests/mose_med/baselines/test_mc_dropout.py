from __future__ import annotations

import pytest
import torch

from mose_med.baselines.mc_dropout import MonteCarloDropout
from mose_med.losses import PairwiseLoss
from tests.mose_med.baselines.toy import seeded, trained, two_raters


def small_network(**settings: object) -> MonteCarloDropout:
    torch.manual_seed(0)
    return MonteCarloDropout(channels=(4, 6, 8), **settings).eval()


def test_a_channel_is_dropped_as_often_as_the_rate_says():
    network, factors = small_network(dropout=0.3), []
    network.trunk.register_forward_pre_hook(lambda module, inputs: factors.extend(inputs[1]))
    network(torch.zeros(1, 1, 8, 8), samples_per_expert=500, generator=seeded())
    drawn = torch.cat(factors, dim=2)
    assert drawn.unique().tolist() == pytest.approx([0.0, 1 / 0.7])
    assert float((drawn == 0).float().mean()) == pytest.approx(0.3, abs=0.02)
    assert drawn.shape == (1, 500, network.noise_dim)


def test_windows_of_a_case_lose_the_same_channels():
    network, image = small_network(), torch.randn(1, 1, 16, 96)
    deviates = torch.randn(1, 4, network.noise_dim, generator=seeded())
    whole = network.samples_from(image, deviates).logits[..., 28:30]
    window = network.samples_from(image[..., :88], deviates).logits[..., 28:30]
    torch.testing.assert_close(window, whole, rtol=1e-4, atol=1e-5)


def test_dropout_goes_on_after_training_and_its_mean_is_what_it_learnt():
    network = small_network()
    trained(network, PairwiseLoss(cost="ce"), torch.optim.Adam(network.parameters(), 0.01), steps=60, side=16)
    with torch.no_grad():
        logits = network(two_raters(1, 16)[0], samples_per_expert=32, generator=seeded()).logits
    samples = logits[0, 0].softmax(dim=1)[:, 1]
    assert samples.std(dim=0)[4:12, 4:12].mean() > 1e-3
    assert float(samples[:, 4:12, 4:12].mean()) == pytest.approx(0.5, abs=0.15)
    assert float(samples[:, :2].mean()) < 0.1
