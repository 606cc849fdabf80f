"""Generalized energy distance between the predicted and the annotated distribution of masks.

Conventions: d = 1 - IoU; expectations run under the weights, self-pairs included unless said otherwise; the number is
the squared distance, as published. Pairs that the IoU leaves out (see :mod:`mose_med.metrics.iou`) are left out of the
expectation, whose remaining weights are rescaled. A set of which no pair is left, none of whose masks has a class that
counts, has a spread of 0; an image where neither samples nor raters have one is nan.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from mose_med.metrics.iou import check_masks, checked_overlap, mean_iou
from mose_med.overlap import hard_overlap
from mose_med.samples import checked_weights

__all__ = [
    "MaskDistances",
    "expected_distance",
    "generalized_energy_distance",
    "mask_distances",
    "sample_diversity",
    "weighted_energy_distance",
]


class MaskDistances(NamedTuple):
    """Distances d = 1 - IoU of every pair in double precision, nan where a pair is left out; no weight enters them.

    Attributes:
        cross: of samples and raters, ``(B, N, R)``.
        raters: ``(B, R, R)``.
        samples: ``(B, N, N)``.
    """

    cross: Tensor
    raters: Tensor
    samples: Tensor


def generalized_energy_distance(
    masks: Tensor,
    rater_masks: Tensor,
    weights: Tensor | None = None,
    rater_weights: Tensor | None = None,
    classes: Sequence[int] = (1,),
    *,
    include_self_pairs: bool = True,
) -> Tensor:
    r"""Squared generalized energy distance of each image (equation 8 of the paper).

    .. math:: D^2 = 2\, E\, d(\hat y, y) - E\, d(y, y') - E\, d(\hat y, \hat y')

    Args:
        masks: predicted class maps, integers, shape ``(B, N, *spatial)``.
        rater_masks: annotated class maps, integers, shape ``(B, R, *spatial)``.
        weights: of the predictions, shape ``(B, N)``, rows summing to 1; None for 1/N.
        rater_weights: of the raters, shape ``(B, R)``, rows summing to 1; 0 drops a rater; None for 1/R.
        classes: class ids that count.
        include_self_pairs: as published. False gives the unbiased estimate for finite sets: a mask is not paired with
            itself, and a set whose weight lies on one mask has spread 0.

    Returns:
        Squared distance, shape ``(B,)``; 0 for equal sets; nan where no mask has any of several classes.

    Raises:
        ShapeError: if shapes differ, masks are not integers or weights do not sum to 1.
        ConfigError: if ``classes`` does not fit.

    Example:
        >>> masks = torch.tensor([[[1, 1, 0, 0]]])
        >>> generalized_energy_distance(masks, torch.tensor([[[0, 1, 1, 0], [0, 0, 0, 0]]]))
        tensor([1.1667])
    """
    distances = mask_distances(masks, rater_masks, classes)
    rows = checked_weights(weights, masks, "weights")
    columns = checked_weights(rater_weights, rater_masks, "rater_weights")
    return weighted_energy_distance(distances, rows, columns, include_self_pairs=include_self_pairs)


def mask_distances(masks: Tensor, rater_masks: Tensor, classes: Sequence[int] = (1,)) -> MaskDistances:
    """What the energy distance needs of masks, independent of their weights: see :func:`weighted_energy_distance`.

    Args:
        masks: predicted class maps, integers, shape ``(B, N, *spatial)``.
        rater_masks: annotated class maps, integers, shape ``(B, R, *spatial)``.
        classes: class ids that count.

    Raises:
        ShapeError: if shapes differ or masks are not integers.
        ConfigError: if ``classes`` does not fit.
    """
    check_masks(masks, rater_masks, classes)
    # All masks against all at once: each is converted once, where three calls would convert each twice.
    everyone, samples = _joined(masks, rater_masks), masks.shape[1]
    distance = 1.0 - mean_iou(hard_overlap(everyone, everyone, classes))
    return MaskDistances(
        distance[:, :samples, samples:], distance[:, samples:, samples:], distance[:, :samples, :samples]
    )


def weighted_energy_distance(
    distances: MaskDistances, weights: Tensor, rater_weights: Tensor, *, include_self_pairs: bool = True
) -> Tensor:
    """The generalized energy distance of :func:`generalized_energy_distance`, from distances that are known.

    Args:
        distances: of :func:`mask_distances`.
        weights: of the samples, shape ``(B, N)``, rows summing to 1.
        rater_weights: shape ``(B, R)``, rows summing to 1.
        include_self_pairs: see :func:`generalized_energy_distance`.

    Returns:
        Squared distance, shape ``(B,)``.

    Example:
        >>> distances = mask_distances(torch.tensor([[[1, 0], [0, 1]]]), torch.tensor([[[1, 0]]]))
        >>> certain, halved = torch.tensor([[1.0, 0.0]]), torch.tensor([[0.5, 0.5]])
        >>> [weighted_energy_distance(distances, rows, torch.ones(1, 1)).item() for rows in (certain, halved)]
        [0.0, 0.5]
    """
    rows, columns = weights.double(), rater_weights.double()
    cross = _expectation(distances.cross, _products(rows, columns))
    spread = expected_distance(distances.raters, columns, include_self_pairs)
    diversity = expected_distance(distances.samples, rows, include_self_pairs)
    return (2.0 * cross - spread.nan_to_num(0.0) - diversity.nan_to_num(0.0)).float()


def sample_diversity(
    masks: Tensor, weights: Tensor | None = None, classes: Sequence[int] = (1,), *, include_self_pairs: bool = True
) -> Tensor:
    """Expected distance of two draws from a set of masks, E d(y, y').

    Args:
        masks: class maps, integers, shape ``(B, N, *spatial)``.
        weights: shape ``(B, N)``, rows summing to 1; None for 1/N.
        classes: class ids that count.
        include_self_pairs: see :func:`generalized_energy_distance`.

    Returns:
        Diversity in [0, 1], shape ``(B,)``; nan where no mask has any of several classes.

    Raises:
        ShapeError: if masks are not integers or weights do not fit.
        ConfigError: if ``classes`` does not fit.

    Example:
        >>> sample_diversity(torch.tensor([[[1, 0], [0, 1]]]))
        tensor([0.5000])
    """
    checked = checked_weights(weights, masks, "weights").double()
    return expected_distance(
        1.0 - mean_iou(checked_overlap(masks, masks, classes)), checked, include_self_pairs
    ).float()


def _joined(masks: Tensor, others: Tensor) -> Tensor:
    dtype = torch.promote_types(masks.dtype, others.dtype)
    return torch.cat([masks.to(dtype), others.to(masks.device, dtype)], dim=1)


def expected_distance(distance: Tensor, weights: Tensor, include_self_pairs: bool = True) -> Tensor:
    """Expected distance of two draws from a set of masks whose distances are known, E d(y, y').

    Args:
        distance: of every pair, ``(B, N, N)``, as :class:`MaskDistances` holds them.
        weights: shape ``(B, N)``, rows summing to 1, in the precision of the distances.
        include_self_pairs: see :func:`generalized_energy_distance`.

    Returns:
        Shape ``(B,)``; nan where every pair is left out.
    """
    pairs = _products(weights, weights)
    if include_self_pairs:
        return _expectation(distance, pairs)
    pairs = pairs - torch.diag_embed(weights.square())
    alone = pairs.sum(dim=(1, 2)) <= 0
    return torch.where(alone, 0.0, _expectation(distance, pairs))


def _products(weights: Tensor, others: Tensor) -> Tensor:
    return weights.unsqueeze(2) * others.unsqueeze(1)


def _expectation(distance: Tensor, pairs: Tensor) -> Tensor:
    """Mean of (B, N, M) distances under pair weights; nan pairs are left out."""
    valid = ~distance.isnan()
    return (distance.nan_to_num() * pairs).sum(dim=(1, 2)) / (pairs * valid).sum(dim=(1, 2))
