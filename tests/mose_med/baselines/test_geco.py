from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from mose_med.baselines.geco import GecoLoss
from mose_med.baselines.parts.evidence import VariationalOutput, summed_cross_entropy
from mose_med.baselines.parts.gaussians import DiagonalGaussian
from mose_med.errors import ConfigError
from mose_med.samples import RaterMasks

ONE = RaterMasks(torch.zeros(3, 1, 8, 8, dtype=torch.long), torch.ones(3, 1))


def logits_of(seed: int = 0) -> Tensor:
    return torch.randn(3, 2, 8, 8, generator=torch.Generator().manual_seed(seed)).requires_grad_()


def output_of(logits: Tensor) -> VariationalOutput:
    """Any logits, with a divergence of 1/2 an image."""
    standard = DiagonalGaussian(torch.zeros(3, 1), torch.zeros(3, 1))
    return VariationalOutput(logits, (standard._replace(mean=torch.ones(3, 1)),), (standard,), torch.zeros(3).long())


def test_with_all_voxels_the_loss_is_the_excess_cross_entropy_plus_the_divergence():
    logits = logits_of()
    expected = summed_cross_entropy(logits, ONE.masks[:, 0]).mean() - 0.05 * 64 + 0.5
    torch.testing.assert_close(GecoLoss(top_share=1.0)(output_of(logits), ONE), expected)


def test_the_multiplier_climbs_while_reconstructions_are_too_poor_and_falls_after():
    poor, good = GecoLoss(kappa=0.0, rate=0.1), GecoLoss(kappa=9.0, rate=0.1)
    for loss in (poor, good):
        loss(output_of(logits_of()), ONE)
    assert poor.multiplier > 1.0 > good.multiplier
    for _ in range(20):
        good(output_of(logits_of()), ONE)
    assert good.multiplier == 0.0


def test_the_average_moves_slowly_and_lets_the_whole_gradient_through():
    loss, maps = GecoLoss(top_share=1.0, rate=0.0), [logits_of(0), logits_of(1)]
    means = [summed_cross_entropy(logits, ONE.masks[:, 0]).mean() for logits in maps]
    for logits in maps:
        loss(output_of(logits), ONE).backward()
    torch.testing.assert_close(loss.moving_average, (0.99 * means[0] + 0.01 * means[1]).detach())
    torch.testing.assert_close(maps[1].grad, torch.autograd.grad(means[1], maps[1])[0])


def test_a_resumed_training_goes_on_with_the_same_multiplier():
    first, resumed = GecoLoss(), GecoLoss()
    first(output_of(logits_of()), ONE)
    assert set(first.state_dict()) == {"multiplier", "moving_average"}
    resumed.load_state_dict(first.state_dict())
    for loss in (first, resumed):
        loss.set_epoch(2)
    found = [loss(output_of(logits_of(1)), ONE) for loss in (first, resumed)]
    torch.testing.assert_close(*found, rtol=0, atol=0)


def test_a_loss_in_eval_mode_stays_as_it_is():
    loss = GecoLoss().eval()
    loss(output_of(logits_of()), ONE)
    assert (loss.multiplier.item(), bool(loss.moving_average.isnan())) == (1.0, True)


def test_a_share_of_the_batch_is_drawn_and_poor_voxels_first():
    logits = torch.zeros(3, 2, 8, 8)
    logits[:, 1] = -50.0
    logits[0, 1, :3, 0] = 50.0
    logits.requires_grad_()
    GecoLoss(top_share=3.5 / 192)(output_of(logits), ONE).backward()
    assert logits.grad is not None
    assert (logits.grad[:, 0].abs() > 1e-12).nonzero().tolist() == [[0, 0, 0], [0, 1, 0], [0, 2, 0]]


def test_voxels_to_be_ignored_are_never_drawn():
    logits, masks = logits_of(), ONE.masks.clone()
    masks[:, :, :4] = 7
    GecoLoss(top_share=0.5, ignore_index=7)(output_of(logits), RaterMasks(masks, ONE.weights)).backward()
    assert logits.grad is not None
    drawn = logits.grad[:, 0] != 0
    assert (drawn[:, :4].sum().item(), drawn[:, 4:].sum().item()) == (0, 96)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"kappa": -0.1}, "kappa must be >= 0, got -0.1"),
        ({"decay": 1.0}, r"decay must be in \[0, 1\), got 1.0"),
        ({"rate": -1.0}, "rate must be >= 0, got -1.0"),
        ({"top_share": 0.0}, r"top_share must be in \(0, 1\], got 0.0"),
    ],
)
def test_settings_that_do_not_fit_are_refused(settings: dict[str, Any], message: str):
    with pytest.raises(ConfigError, match=message):
        GecoLoss(**settings)
