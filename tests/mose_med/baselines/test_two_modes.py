"""A toy on which raters disagree: one outlines the bright half of an image, the other nothing."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from mose_med.baselines.geco import GecoLoss
from mose_med.baselines.hu_variability import HuVariabilityLoss
from mose_med.baselines.parts.evidence import EvidenceLowerBoundLoss
from mose_med.baselines.phiseg import PHiSegLoss
from mose_med.networks.registry import build
from mose_med.samples import RaterMasks

SIDE = 8


def halves(generator: torch.Generator, batch: int) -> tuple[Tensor, RaterMasks]:
    """Noisy images whose left or right half is bright, and the raters' masks."""
    right = torch.randint(0, 2, (batch, 1, 1), generator=generator)
    mask = ((torch.arange(SIDE) >= SIDE // 2) == right.bool()).expand(batch, SIDE, SIDE).long()
    image = mask.unsqueeze(1) + 0.2 * torch.randn(batch, 1, SIDE, SIDE, generator=generator)
    return image, RaterMasks(torch.stack([mask, torch.zeros_like(mask)], dim=1), torch.full((batch, 2), 0.5))


def trained(network: Any, loss: Any, steps: int, generator: torch.Generator) -> Any:
    optimizer = torch.optim.Adam(network.parameters(), lr=5e-3)
    scheduler = torch.optim.lr_scheduler.LinearLR(optimizer, 1.0, 0.05, steps)
    for _ in range(steps):
        image, raters = halves(generator, 16)
        optimizer.zero_grad()
        loss(network(image, generator=generator, target=raters), raters).backward()
        optimizer.step()
        scheduler.step()
    return network.eval()


@pytest.mark.parametrize(
    ("name", "loss", "channels", "steps"),
    [
        ("probabilistic_unet", EvidenceLowerBoundLoss(), [8, 8], 240),
        ("hierarchical_probabilistic_unet", GecoLoss(top_share=0.2), [8, 8, 8], 180),
        ("phiseg", PHiSegLoss(), [8, 8], 360),
        ("hu_variability", HuVariabilityLoss(), [8, 8], 180),
    ],
)
def test_both_opinions_are_learnt(name: str, loss: Any, channels: list[int], steps: int):
    torch.manual_seed(0)
    generator = torch.Generator().manual_seed(0)
    network = trained(build({"name": name, "channels": channels}), loss, steps, generator)
    image, raters = halves(generator, 16)
    with torch.inference_mode():
        masks = network(image, samples_per_expert=16, generator=generator).logits[:, 0].argmax(dim=2)
    bright = raters.masks[:, :1]
    share = (masks * bright).flatten(2).sum(dim=2) / bright.flatten(2).sum(dim=2)
    clean = (masks * (1 - bright)).flatten(2).sum(dim=2) <= 3
    whole, nothing = (((share > 0.8) & clean).float().mean(), ((share < 0.2) & clean).float().mean())
    assert 0.2 < whole < 0.8
    assert 0.2 < nothing < 0.8
    assert whole + nothing > 0.7
