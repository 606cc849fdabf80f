from __future__ import annotations

import pytest
import torch

from mose_med.baselines.hu_variability import HuVariability, HuVariabilityLoss, variability_divergence
from mose_med.baselines.parts.evidence import EvidenceLowerBoundLoss
from mose_med.baselines.probabilistic_unet import ProbabilisticUNet
from mose_med.errors import ConfigError
from mose_med.samples import RaterMasks

HALVES = RaterMasks(torch.stack([torch.zeros(1, 4, 4), torch.ones(1, 4, 4)], dim=1).long(), torch.full((1, 2), 0.5))
AGREED = RaterMasks(HALVES.masks, torch.tensor([[1.0, 0.0]]))


def samples_of(*levels: float) -> torch.Tensor:
    maps = torch.stack([torch.full((4, 4), level) for level in levels])
    return torch.stack([-maps, maps], dim=1).unsqueeze(0)


def test_samples_that_vary_as_the_raters_do_cost_least():
    varied, alike = samples_of(9.0, -9.0), samples_of(9.0, 9.0)
    assert variability_divergence(varied, HALVES) < 0.1 < variability_divergence(alike, HALVES)
    assert variability_divergence(alike, AGREED) < 0.1 < variability_divergence(varied, AGREED)


def test_voxels_that_a_rater_leaves_out_do_not_count():
    masks = HALVES.masks.clone()
    masks[:, 0, :2] = 9
    found = variability_divergence(samples_of(1.0, 0.0), RaterMasks(masks, HALVES.weights), ignore_index=9)
    torch.testing.assert_close(found, variability_divergence(samples_of(1.0, 0.0), HALVES) / 2)


def test_the_gradient_of_the_divergence_is_right():
    logits = samples_of(0.5, -0.2, 0.1).double().requires_grad_()
    assert torch.autograd.gradcheck(lambda x: variability_divergence(x, HALVES), [logits])


def test_without_its_factor_the_loss_is_the_evidence_lower_bound():
    image = torch.randn(1, 1, 4, 4)
    output = HuVariability(channels=(4, 4))(image, target=HALVES)
    loss = HuVariabilityLoss(variability=0.0)
    torch.testing.assert_close(loss(output, HALVES), EvidenceLowerBoundLoss()(output, HALVES))
    loss.variability = 2.0
    expected = EvidenceLowerBoundLoss()(output, HALVES) + 2.0 * loss.components["variability"]
    torch.testing.assert_close(loss(output, HALVES), expected)


def test_a_network_without_further_samples_is_refused():
    output = ProbabilisticUNet(channels=(4, 4))(torch.randn(1, 1, 4, 4), target=HALVES)
    with pytest.raises(ConfigError, match="the network must be hu_variability"):
        HuVariabilityLoss()(output, HALVES)


def test_one_sample_has_no_variability():
    with pytest.raises(ConfigError, match="variability_samples must be >= 2, got 1"):
        HuVariability(variability_samples=1)
