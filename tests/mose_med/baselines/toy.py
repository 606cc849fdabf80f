"""A toy of two modes: one rater outlines the bright square, the other sees nothing."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from mose_med.samples import ExpertSamples, RaterMasks


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def two_raters(batch: int, side: int, generator: torch.Generator | None = None) -> tuple[Tensor, RaterMasks]:
    image = 0.1 * torch.randn(batch, 1, side, side, generator=generator)
    masks = torch.zeros(batch, 2, side, side, dtype=torch.long)
    square = slice(side // 4, side - side // 4)
    image[..., square, square] += 1.0
    masks[:, 1, square, square] = 1
    return image, RaterMasks(masks, torch.full((batch, 2), 0.5))


def trained(network: nn.Module, loss: nn.Module, optimizer: torch.optim.Optimizer, steps: int, side: int) -> None:
    """Train on the toy, with running statistics that keep up."""
    generator = seeded()
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.momentum = 0.2
    for _ in range(steps):
        image, raters = two_raters(8, side, generator)
        optimizer.zero_grad()
        loss(network.train()(image, generator=generator, target=raters), raters).backward()
        optimizer.step()
    network.eval()


def shares_of_modes(samples: ExpertSamples) -> tuple[float, float]:
    """Weights of the samples that have at least 9/10, and at most 1/10, of the square's voxels."""
    side = samples.logits.shape[-1]
    square = slice(side // 4, side - side // 4)
    logits, weights = samples.weighted()
    filled = logits.argmax(dim=2)[..., square, square].float().mean(dim=(2, 3))
    return tuple(float((weights * chosen).sum(dim=1).mean()) for chosen in (filled > 0.9, filled < 0.1))
