from __future__ import annotations

import torch
from torch.distributions import Normal
from torch.distributions import kl_divergence as reference

from mose_med.baselines.parts.gaussians import DiagonalGaussian, GaussianHead, gaussian, kl_divergence
from mose_med.baselines.phiseg import PHiSeg


def test_the_divergence_is_that_of_normal_distributions():
    q, p = (gaussian(torch.randn(3, 4, 5, generator=torch.Generator().manual_seed(seed))) for seed in (0, 1))
    expected = reference(Normal(q.mean, q.log_std.exp()), Normal(p.mean, p.log_std.exp())).sum(dim=(1, 2))
    torch.testing.assert_close(kl_divergence(q, p), expected)


def test_a_runaway_deviation_stays_finite():
    wild = gaussian(torch.tensor([[0.0, 1e4], [0.0, -1e4]]))
    assert wild.log_std.tolist() == [[10.0], [-10.0]]
    assert kl_divergence(wild, DiagonalGaussian(wild.mean, wild.log_std.flip(0))).isfinite().all()


def test_heads_work_in_single_precision_under_autocast():
    maps, head = torch.randn(2, 4, 3, 3), GaussianHead(2, 4, 5)
    expected = head(maps)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found = head(maps)
    torch.testing.assert_close(found, expected, rtol=0, atol=0)


def test_a_softplus_head_survives_arguments_whose_softplus_is_0():
    head = PHiSeg(channels=(4, 4), latent_levels=1).prior.heads[0]
    with torch.no_grad():
        head.std.bias.fill_(-500.0)
    maps = torch.randn(1, 4, 2, 2, requires_grad=True)
    found = head(maps)
    (found.mean.sum() + found.log_std.sum()).backward()
    assert found.log_std.unique().tolist() == [-10.0]
    assert maps.grad is not None
    assert maps.grad.isfinite().all()
