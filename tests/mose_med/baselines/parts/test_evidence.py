from __future__ import annotations

import math
from typing import Any

import pytest
import torch

from mose_med.baselines.parts.evidence import EvidenceLowerBoundLoss, VariationalOutput, summed_cross_entropy
from mose_med.baselines.parts.gaussians import DiagonalGaussian
from mose_med.baselines.phiseg import PHiSegLoss
from mose_med.errors import ConfigError, ShapeError
from mose_med.samples import RaterMasks

TWO = RaterMasks(torch.stack([torch.zeros(2, 4, 4), torch.ones(2, 4, 4)], dim=1).long(), torch.full((2, 2), 0.5))


def output_of(shift: float = 0.0, levels: int = 1, **others: Any) -> VariationalOutput:
    """Logits that say class 1 with probability 3/4; every level's divergence is shift^2 / 2 an image."""
    logits = torch.stack([torch.zeros(2, 4, 4), torch.full((2, 4, 4), math.log(3.0))], dim=1)
    standard = DiagonalGaussian(torch.zeros(2, 1), torch.zeros(2, 1))
    posterior = standard._replace(mean=torch.full((2, 1), shift))
    return VariationalOutput(logits, (posterior,) * levels, (standard,) * levels, torch.tensor([0, 1]), **others)


def test_the_bound_is_summed_over_voxels_and_averaged_over_images():
    loss = EvidenceLowerBoundLoss(beta=2.0)
    expected = (16 * math.log(4.0) + 16 * math.log(4.0 / 3.0)) / 2 + 2.0 * 0.5 * 3.0**2
    torch.testing.assert_close(loss(output_of(shift=3.0), TWO), torch.tensor(expected))
    assert loss.components["kl"].item() == pytest.approx(4.5)


def test_voxels_to_be_ignored_do_not_count():
    masks = TWO.masks.clone()
    masks[..., :2, :] = 9
    found = EvidenceLowerBoundLoss(ignore_index=9)(output_of(), RaterMasks(masks, TWO.weights))
    torch.testing.assert_close(found, EvidenceLowerBoundLoss()(output_of(), TWO) / 2)


def test_phiseg_weighs_coarse_divergences_and_sums_all_reconstructions():
    partial = torch.zeros(2, 2, 4, 4)
    loss = PHiSegLoss()
    loss(output_of(shift=2.0, levels=3, partial_logits=(partial, partial)), TWO)
    assert loss.components["kl"].item() == pytest.approx((16 + 4 + 1) * 2.0)
    last = (16 * math.log(4.0) + 16 * math.log(4.0 / 3.0)) / 2
    assert loss.components["reconstruction"].item() == pytest.approx(last + 2 * 16 * math.log(2.0))


def test_a_sum_over_16384_voxels_is_that_of_double_precision():
    logits = torch.randn(1, 2, 128, 128, generator=torch.Generator().manual_seed(0)).to(torch.float16)
    masks = torch.zeros(1, 128, 128, dtype=torch.long)
    expected = -logits.double().log_softmax(dim=1)[:, 0].sum()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found = summed_cross_entropy(logits, masks)
    torch.testing.assert_close(found.double(), expected.view(1), rtol=1e-6, atol=0)


def test_gradients_of_the_bound_are_right():
    output = output_of(shift=1.0)

    def bound(logits: torch.Tensor, mean: torch.Tensor, log_std: torch.Tensor) -> torch.Tensor:
        gaussian = DiagonalGaussian(mean, log_std)
        return EvidenceLowerBoundLoss()(output._replace(logits=logits, posterior=(gaussian,)), TWO)

    parts = (output.logits, output.posterior[0].mean, output.posterior[0].log_std)
    assert torch.autograd.gradcheck(bound, [part.double().requires_grad_() for part in parts])


@pytest.mark.parametrize("loss", [EvidenceLowerBoundLoss, PHiSegLoss])
def test_a_negative_beta_is_refused(loss: Any):
    with pytest.raises(ConfigError, match="beta must be >= 0, got -1"):
        loss(beta=-1)


def test_masks_of_other_classes_are_refused():
    with pytest.raises(ShapeError, match="rater_masks must hold classes 0 to 1, got 2"):
        EvidenceLowerBoundLoss()(output_of(), RaterMasks(TWO.masks * 2, TWO.weights))
