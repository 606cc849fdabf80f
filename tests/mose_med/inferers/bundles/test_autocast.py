from __future__ import annotations

import torch
from torch import nn

from mose_med.inferers import AutocastInferer


def test_the_network_runs_in_bfloat16_and_learns_in_float32():
    network, image = nn.Linear(4, 4), torch.randn(2, 4, generator=torch.Generator().manual_seed(0))
    output = AutocastInferer()(image, network)
    output.float().sum().backward()
    assert (output.dtype, network.weight.grad.dtype) == (torch.bfloat16, torch.float32)
    torch.testing.assert_close(output.float(), network(image), rtol=0.02, atol=0.02)


def test_disabled_it_changes_nothing():
    network, image = nn.Linear(4, 4), torch.ones(1, 4)
    assert torch.equal(AutocastInferer(enabled=False)(image, network), network(image))
