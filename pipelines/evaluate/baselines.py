"""The score of a prediction that ignores the image, for comparison."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

from mose_med.metrics import pairwise_iou
from mose_med.samples import RaterMasks

__all__ = ["ConstantPrediction", "best_constant_prediction", "rater_probs"]

#: Thresholds tried at most, evenly spread over the ranks of the mean foreground probabilities.
_LEVELS = 100

Batches = Callable[[], Iterable[dict[str, Any]]]


class ConstantPrediction(NamedTuple):
    """One answer for every slice.

    Attributes:
        mask: class map, (H, W) uint8.
        probs: mean share of the raters in the training part, (C, H, W).
        threshold: of the foreground probability; infinite where the empty mask is best.
    """

    mask: Tensor
    probs: Tensor
    threshold: float


def best_constant_prediction(
    batches: Batches, num_classes: int, classes: Sequence[int] | None = None
) -> ConstantPrediction:
    """The mean training mask at the threshold that agrees best with the training raters.

    Among constant predictions the one of the highest expected IoU has the lowest GED, since the raters' own spread is
    the same for all of them.

    Args:
        batches: gives the training part, afresh at every call: dicts of ``label`` (B, R, H, W) and
            ``rater_weights`` (B, R).
        num_classes: C.
        classes: whose regions count; None for all but the background.
    """
    counted = range(1, num_classes) if classes is None else classes
    probs = _mean_probs(batches(), num_classes)
    candidates = list(_candidates(probs))
    masks = torch.stack([mask for _, mask in candidates])
    totals = torch.zeros(len(masks), dtype=torch.float64)
    for batch in batches():
        raters = RaterMasks(batch["label"], batch["rater_weights"])
        iou = pairwise_iou(masks.expand(len(raters.masks), *masks.shape), raters.masks, counted)
        totals += (iou.nan_to_num(1.0) * raters.weights.unsqueeze(1)).sum(dim=(0, 2)).double()
    best = int(totals.argmax())
    return ConstantPrediction(masks[best], probs, candidates[best][0])


def rater_probs(raters: RaterMasks, num_classes: int) -> Tensor:
    """Weighted share of the raters for every class, (B, C, H, W)."""
    weights = raters.weights[(...,) + (None,) * (raters.masks.ndim - 2)]
    return torch.stack([((raters.masks == label) * weights).sum(dim=1) for label in range(num_classes)], dim=1)


def _mean_probs(batches: Iterable[dict[str, Any]], num_classes: int) -> Tensor:
    total, slices = torch.zeros((), dtype=torch.float64), 0
    for batch in batches:
        shares = rater_probs(RaterMasks(batch["label"], batch["rater_weights"]), num_classes)
        total = total + shares.double().sum(dim=0)
        slices += len(shares)
    return (total / slices).float()


def _candidates(probs: Tensor) -> Iterator[tuple[float, Tensor]]:
    foreground = 1.0 - probs[0]
    likeliest = probs[1:].argmax(dim=0) + 1
    levels = torch.unique(foreground[foreground > 0])
    chosen = torch.linspace(0, len(levels) - 1, min(len(levels), _LEVELS)).round().long()
    for threshold in levels[chosen].tolist():
        yield threshold, torch.where(foreground >= threshold, likeliest, 0).to(torch.uint8)
    yield float("inf"), torch.zeros_like(likeliest, dtype=torch.uint8)
