"""Cost of explaining a rater's mask by a sample, for every pair.

A cost takes logits ``(B, N, C, *spatial)`` and integer masks ``(B, R, *spatial)`` and gives ``(B, N, R)``. All of them
are matrix products over the voxels: memory O(B (N + R) C P), never O(B N R C P). Sums run in single precision or
better, also under autocast.

Conventions: ``classes`` are those that count; by default all but the background (class 0) for the overlap costs and all
for the cross-entropies. Voxels that a rater labels ``ignore_index`` do not count for that rater; if nothing counts, the
cost is that of two empty masks, 0.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Literal

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd.function import once_differentiable

from mose_med.errors import ConfigError
from mose_med.overlap import Overlap, class_indicators, soft_overlap

__all__ = ["COSTS", "CostFunction", "CostName", "cross_entropy_cost", "dice_cost", "focal_cost", "iou_cost"]

CostName = Literal["iou", "dice", "ce", "focal-ce"]
#: ``cost(logits, masks) -> (B, N, R)``.
CostFunction = Callable[[Tensor, Tensor], Tensor]


def iou_cost(
    logits: Tensor, masks: Tensor, classes: Sequence[int] | None = None, ignore_index: int | None = None
) -> Tensor:
    r"""Soft IoU cost, averaged over the classes.

    .. math:: c = 1 - \frac{I + 1}{U + 1}, \quad I = \sum_p s_p y_p, \quad U = \sum_p s_p + \sum_p y_p - I

    Args:
        logits: samples, shape ``(B, N, C, *spatial)``.
        masks: rater masks, shape ``(B, R, *spatial)``.
        classes: class ids that count; None for all but the background.
        ignore_index: label of voxels that do not count.

    Returns:
        Cost in [0, 1], shape ``(B, N, R)``; two empty masks cost 0.

    Example:
        >>> logits = torch.tensor([[[[50.0, -50.0], [-50.0, 50.0]]]])
        >>> iou_cost(logits, torch.tensor([[[0, 1], [1, 0], [0, 0]]]))
        tensor([[[0.0000, 0.6667, 0.5000]]])
    """
    overlap = _overlap(logits, masks, classes, ignore_index)
    return 1.0 - ((overlap.intersection + 1.0) / (overlap.union + 1.0)).mean(dim=1)


def dice_cost(
    logits: Tensor, masks: Tensor, classes: Sequence[int] | None = None, ignore_index: int | None = None
) -> Tensor:
    r"""Soft Dice cost :math:`1 - (2 I + 1) / (\sum_p s_p + \sum_p y_p + 1)`, averaged over the classes.

    Arguments and result are those of :func:`iou_cost`.
    """
    overlap = _overlap(logits, masks, classes, ignore_index)
    return 1.0 - ((2.0 * overlap.intersection + 1.0) / (overlap.total + 1.0)).mean(dim=1)


def cross_entropy_cost(
    logits: Tensor, masks: Tensor, classes: Sequence[int] | None = None, ignore_index: int | None = None
) -> Tensor:
    r"""Cross-entropy, mean over the voxels whose label counts.

    .. math:: c = -\frac{1}{|V|} \sum_{p \in V} \log s_{p, y_p}

    Departure: the release's void voxels add a constant and stay in the denominator; here they are left out of both.

    Args:
        logits: samples, shape ``(B, N, C, *spatial)``.
        masks: rater masks, shape ``(B, R, *spatial)``.
        classes: labels that count; None for all.
        ignore_index: label of voxels that do not count.

    Returns:
        Cost in nats, shape ``(B, N, R)``; 0 where no voxel counts.
    """
    scores = _at_least_single(logits).flatten(start_dim=3)
    shares = _label_shares(masks, logits.shape[2], classes, ignore_index, scores.dtype)
    cost: Tensor = _CrossEntropy.apply(scores, shares)  # type: ignore[no-untyped-call]
    return cost


def focal_cost(
    logits: Tensor,
    masks: Tensor,
    classes: Sequence[int] | None = None,
    ignore_index: int | None = None,
    focusing: float = 2.0,
) -> Tensor:
    r"""Focal cross-entropy :math:`-(1 - s_{y})^{f} \log s_{y}`, mean over the voxels whose label counts.

    Arguments and result are those of :func:`cross_entropy_cost`; ``focusing`` 0 gives the same values.
    """
    log_probs = F.log_softmax(_at_least_single(logits).flatten(start_dim=3), dim=2)
    focal = (1.0 - log_probs.exp()).clamp_min(0.0) ** focusing * log_probs if focusing else log_probs
    shares = _label_shares(masks, logits.shape[2], classes, ignore_index, log_probs.dtype)
    return -(focal.flatten(start_dim=2) @ shares.flatten(start_dim=2).transpose(1, 2))


#: Costs by the name that configs use.
COSTS: dict[str, Callable[..., Tensor]] = {
    "iou": iou_cost,
    "dice": dice_cost,
    "ce": cross_entropy_cost,
    "focal-ce": focal_cost,
}


class _CrossEntropy(torch.autograd.Function):
    """Products of log-probabilities with label shares, keeping only the logits for the backward pass.

    Composed from PyTorch's own operations it would hold one more tensor of the size of the logits at its peak.
    """

    @staticmethod
    def forward(ctx: Any, scores: Tensor, shares: Tensor) -> Tensor:
        ctx.save_for_backward(scores, shares)
        log_probs = F.log_softmax(scores, dim=2)
        return -(log_probs.flatten(start_dim=2) @ shares.flatten(start_dim=2).transpose(1, 2))

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad_cost: Tensor) -> tuple[Tensor, None]:
        scores, shares = ctx.saved_tensors
        gradient = F.softmax(scores, dim=2)
        gradient *= (grad_cost @ shares.sum(dim=2)).unsqueeze(2)
        gradient.flatten(start_dim=2).baddbmm_(grad_cost, shares.flatten(start_dim=2), alpha=-1)
        return gradient, None


def _overlap(logits: Tensor, masks: Tensor, classes: Sequence[int] | None, ignore_index: int | None) -> Overlap:
    labels = _counted(range(1, logits.shape[2]) if classes is None else classes, logits.shape[2], ignore_index)
    probs = F.softmax(_at_least_single(logits), dim=2).flatten(start_dim=3)
    probs = probs[:, :, labels[0] : labels[-1] + 1] if _is_run(labels) else probs[:, :, list(labels)]
    valid = None if ignore_index is None else (masks != ignore_index).flatten(start_dim=2).to(probs.dtype)
    return soft_overlap(probs, class_indicators(masks, labels, probs.dtype), valid)


def _label_shares(
    masks: Tensor, num_classes: int, classes: Sequence[int] | None, ignore_index: int | None, dtype: torch.dtype
) -> Tensor:
    """Indicator of every class over the number of voxels that count, (B, R, C, P)."""
    shares = class_indicators(masks, range(num_classes), dtype)
    counted = _counted(range(num_classes) if classes is None else classes, num_classes, ignore_index)
    for label in set(range(num_classes)) - set(counted):
        shares[:, :, label] = 0.0
    return shares.div_(shares.sum(dim=(2, 3), keepdim=True).clamp_min(1.0))


def _counted(classes: Sequence[int], num_classes: int, ignore_index: int | None) -> tuple[int, ...]:
    if max(classes, default=0) >= num_classes:
        raise ConfigError(f"classes must be below the {num_classes} classes of the samples, got {max(classes)}")
    labels = tuple(label for label in classes if label != ignore_index)
    if not labels:
        raise ConfigError(f"classes must keep one other than ignore_index={ignore_index}, got {tuple(classes)}")
    return labels


def _is_run(labels: Sequence[int]) -> bool:
    return list(labels) == list(range(labels[0], labels[-1] + 1))


def _at_least_single(logits: Tensor) -> Tensor:
    return logits if logits.dtype == torch.float64 else logits.float()
