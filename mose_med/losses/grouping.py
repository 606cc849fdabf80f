"""Groups of redundant experts, for the soft gradient of Algorithm 2.

Every member of a group gets the gradient at the group's means; that is the gradient of a divergence between group
*sums*.

Departure: groups are the transitive closure of "mean predictions have IoU >= G0"; the release merges sequentially, so
that its groups depend on the order of the experts.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from mose_med.overlap import hard_overlap

__all__ = ["expert_groups", "transitive_closure"]


def expert_groups(logits: Tensor, merge_iou: float) -> Tensor:
    """Which experts share a group.

    Two experts are alike if the argmax masks of their mean predictions have a mean IoU >= ``merge_iou`` over the
    foreground classes; two empty masks have IoU 1.

    Args:
        logits: samples by expert, shape ``(B, K, S, C, *spatial)``.
        merge_iou: threshold G0 in [0, 1].

    Returns:
        1 where two experts share a group, else 0: shape ``(B, K, K)``, without gradient.

    Example:
        >>> logits = torch.tensor([[5.0, -5.0], [5.0, -5.0], [-5.0, 5.0]]).reshape(1, 3, 1, 2, 1)
        >>> expert_groups(logits, 0.9)
        tensor([[[1., 1., 0.],
                 [1., 1., 0.],
                 [0., 0., 1.]]])
    """
    classes = logits.shape[3]
    with torch.no_grad():
        mean_probs = F.softmax(logits.float(), dim=3).mean(dim=2)
        masks = mean_probs.argmax(dim=2)
        overlap = hard_overlap(masks, masks, range(1, classes))
        iou = torch.where(overlap.union > 0, overlap.intersection / overlap.union.clamp_min(1.0), 1.0).mean(dim=1)
        return transitive_closure(iou >= merge_iou).to(logits.dtype)


def transitive_closure(adjacency: Tensor) -> Tensor:
    """Closure of a symmetric, reflexive relation by repeated squaring; boolean, shape ``(B, K, K)``."""
    reached = adjacency.float()
    for _ in range(max(adjacency.shape[-1] - 1, 1).bit_length()):
        reached = (reached @ reached).clamp_max(1.0)
    return reached > 0
