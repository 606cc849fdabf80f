"""Matched IoU: the best pairing of predictions and raters.

Conventions: a pair that the IoU leaves out (see :mod:`mose_med.metrics.iou`) is matched as if it agreed, and its mass
is then left out of the mean; an image without any other pair is nan.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from mose_med.metrics.iou import checked_overlap, mean_iou
from mose_med.samples import checked_weights

__all__ = ["best_coupling", "matched_iou"]

_Array = NDArray[np.float64]


def matched_iou(
    masks: Tensor,
    rater_masks: Tensor,
    weights: Tensor | None = None,
    rater_weights: Tensor | None = None,
    classes: Sequence[int] = (1,),
) -> Tensor:
    r"""Best expected IoU over all couplings of predictions and raters (equation 9 of the paper).

    .. math:: W = \max_P \sum_{ij} P_{ij}\, \mathrm{IoU}(\hat y_i, y_j) \quad \text{with marginals } u, v

    Equal weights with N a multiple of R are solved by linear assignment, all others by POT's network simplex.

    Args:
        masks: predicted class maps, integers, shape ``(B, N, *spatial)``.
        rater_masks: annotated class maps, integers, shape ``(B, R, *spatial)``.
        weights: of the predictions, shape ``(B, N)``, rows summing to 1; None for 1/N.
        rater_weights: of the raters, shape ``(B, R)``, rows summing to 1; 0 drops a rater; None for 1/R.
        classes: class ids that count.

    Returns:
        Matched IoU in [0, 1], shape ``(B,)``.

    Raises:
        ShapeError: if shapes differ, masks are not integers or weights do not sum to 1.
        ConfigError: if ``classes`` does not fit.

    Example:
        >>> masks = torch.tensor([[[1, 1, 0], [0, 0, 0]]])
        >>> matched_iou(masks, torch.tensor([[[0, 0, 0], [0, 1, 1]]]))
        tensor([0.6667])
    """
    iou = mean_iou(checked_overlap(masks, rater_masks, classes))
    rows = checked_weights(weights, masks, "weights")
    return best_coupling(iou, rows, checked_weights(rater_weights, rater_masks, "rater_weights"))


def best_coupling(similarity: Tensor, rows: Tensor, columns: Tensor) -> Tensor:
    """Largest expected similarity of a coupling with the given marginals.

    Args:
        similarity: of every pair, shape ``(B, N, R)``, nan where a pair is left out.
        rows: weights of the predictions, ``(B, N)``.
        columns: weights of the raters, ``(B, R)``.

    Returns:
        Scores, shape ``(B,)``.
    """
    arrays = (tensor.detach().double().cpu().numpy() for tensor in (similarity, rows, columns))
    scores = [_best_score(*image) for image in zip(*arrays, strict=True)]
    return torch.tensor(scores, dtype=torch.float32, device=similarity.device)


def _best_score(similarity: _Array, rows: _Array, columns: _Array) -> float:
    gain = np.nan_to_num(similarity, nan=1.0)
    equal = np.ptp(rows) < 1e-9 and np.ptp(columns) < 1e-9 and len(rows) % len(columns) == 0
    plan = _assignment(gain) if equal else _coupling(gain, rows, columns)
    counted = np.where(np.isnan(similarity), 0.0, plan)
    mass = counted.sum()
    return float((counted * gain).sum() / mass) if mass > 0 else float("nan")


def _assignment(gain: _Array) -> _Array:
    """Each rater is served by N / R predictions."""
    copies = len(gain) // gain.shape[1]
    from scipy.optimize import linear_sum_assignment  # here, since inference does without

    chosen_rows, chosen_columns = linear_sum_assignment(np.repeat(gain, copies, axis=1), maximize=True)
    plan = np.zeros_like(gain)
    plan[chosen_rows, chosen_columns // copies] = 1.0 / len(gain)
    return plan


def _coupling(gain: _Array, rows: _Array, columns: _Array) -> _Array:
    from ot import emd  # here, since POT imports scikit-learn, which takes seconds

    return np.asarray(emd(rows / rows.sum(), columns / columns.sum(), 1.0 - gain))
