"""The first step of a training, tried on copies before anything is written.

What is wrong with a loss often shows only when it is called: with a number of samples for which gamma is too small, or
in the middle of a training when an annealed value sets in.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from mose_med.handlers import Annealing
from mose_med.samples import RaterMasks

__all__ = ["try_step"]


def try_step(
    network: nn.Module, loss: nn.Module, annealings: Mapping[str, Annealing], dataset: Sequence[Mapping[str, Any]]
) -> None:
    """Call the loss with the first and the last values of all that is annealed; all stays as it is.

    Args:
        network: to train.
        loss: of its samples and the raters' masks.
        annealings: by name, of the network and the loss.
        dataset: of slices; the first is used, twice, since batch normalisation needs several values.
    """
    device = next(network.parameters()).device
    network, loss, annealings = copy.deepcopy((network, loss, dict(annealings)))
    slice_ = dataset[0]
    image, masks, weights = (_twice(slice_[name]).to(device) for name in ("image", "label", "rater_weights"))
    raters = RaterMasks(masks, weights)
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        for values in dict.fromkeys(zip(*(annealing.ends for annealing in annealings.values()), strict=True)) or [()]:
            for annealing, value in zip(annealings.values(), values, strict=True):
                annealing.set(value)
            loss(network(image, generator=torch.Generator(), target=raters), raters)


def _twice(values: Any) -> Tensor:
    return torch.stack([torch.as_tensor(values)] * 2)
