"""Pairwise overlaps of two sets of masks.

The intersections of all masks of one set with all masks of the other are one matrix product over the voxels, so memory
grows with N + M masks and never with N x M of them. The loss uses soft masks, the metrics hard ones; hard ones are
packed 64 voxels to a word on the CPU, where counting bits is several times faster than multiplying.

Axes: B batch, N and M masks, C classes, P voxels (all spatial axes flattened).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

__all__ = ["Overlap", "class_indicators", "hard_overlap", "soft_overlap"]

#: Voxels a single-precision product may sum over: integers stay exact up to 2^24.
_EXACT_VOXELS = 1 << 22

_Words = NDArray[np.uint64]


class Overlap(NamedTuple):
    """Sums over the voxels for every pair of masks.

    Attributes:
        intersection: ``(B, C, N, M)``.
        area_a: of the first set, ``(B, C, N, 1)``, or ``(B, C, N, M)`` where each partner ignores other voxels.
        area_b: of the second set, ``(B, C, 1, M)``.
    """

    intersection: Tensor
    area_a: Tensor
    area_b: Tensor

    @property
    def total(self) -> Tensor:
        """Sum of both areas, ``(B, C, N, M)``."""
        return self.area_a + self.area_b

    @property
    def union(self) -> Tensor:
        """Area of the union, ``(B, C, N, M)``."""
        return self.total - self.intersection


def class_indicators(masks: Tensor, classes: Sequence[int], dtype: torch.dtype) -> Tensor:
    """One 0/1 map for each class.

    Args:
        masks: integer class maps, shape ``(B, N, *spatial)``.
        classes: class ids.
        dtype: of the result.

    Returns:
        Indicators, shape ``(B, N, C, P)``.

    Example:
        >>> class_indicators(torch.tensor([[[0, 1, 2]]]), (1, 2), torch.float32)
        tensor([[[[0., 1., 0.],
                  [0., 0., 1.]]]])
    """
    flat = masks.flatten(start_dim=2)
    return torch.stack([flat == label for label in classes], dim=2).to(dtype)


def soft_overlap(probs: Tensor, indicators: Tensor, valid: Tensor | None = None) -> Overlap:
    """Overlap of soft masks with 0/1 masks; differentiable in the soft ones.

    Args:
        probs: soft masks, shape ``(B, N, C, P)``.
        indicators: 0/1 masks, shape ``(B, M, C, P)``, 0 where not valid.
        valid: 0/1, shape ``(B, M, P)``: voxels of each second mask that count; None for all.

    Returns:
        The pairwise sums.
    """
    by_class, others = probs.transpose(1, 2), indicators.transpose(1, 2)
    area = by_class.sum(dim=3, keepdim=True) if valid is None else by_class @ valid.transpose(1, 2).unsqueeze(1)
    return Overlap(by_class @ others.transpose(2, 3), area, others.sum(dim=3).unsqueeze(2))


def hard_overlap(a: Tensor, b: Tensor, classes: Sequence[int]) -> Overlap:
    """Overlap of two sets of integer class maps, exact for any number of voxels.

    Args:
        a: class maps, shape ``(B, N, *spatial)``.
        b: class maps, shape ``(B, M, *spatial)``; the same tensor as ``a`` costs one conversion less.
        classes: class ids to compare.

    Returns:
        The pairwise voxel counts in double precision.

    Example:
        >>> overlap = hard_overlap(torch.tensor([[[1, 1, 0]]]), torch.tensor([[[0, 1, 1], [0, 0, 0]]]), (1,))
        >>> overlap.intersection.tolist(), overlap.union.tolist()
        ([[[[1.0, 0.0]]]], [[[[3.0, 2.0]]]])
    """
    flat_a = a.flatten(start_dim=2)
    flat_b = flat_a if a is b else b.flatten(start_dim=2)
    count = _count_bits if a.device.type == "cpu" and b.device.type == "cpu" else _count_by_product
    counts = [count(flat_a, flat_b, label) for label in classes]
    return Overlap(*(torch.stack(parts, dim=1).double() for parts in zip(*counts, strict=True)))


def _count_bits(a: Tensor, b: Tensor, label: int) -> Overlap:
    words_a = _packed(a, label)
    words_b = words_a if a is b else _packed(b, label)
    shared = np.empty((len(words_a), words_a.shape[1], words_b.shape[1]), dtype=np.int64)
    for image, (of_a, of_b) in enumerate(zip(words_a, words_b, strict=True)):
        for column, mask in enumerate(of_b):
            # Of one set with itself half the pairs are enough.
            rows = slice(column, None) if a is b else slice(None)
            shared[image, rows, column] = np.bitwise_count(of_a[rows] & mask).sum(axis=1)
            if a is b:
                shared[image, column, rows] = shared[image, rows, column]
    areas = [torch.from_numpy(np.bitwise_count(words).sum(axis=2).astype(np.int64)) for words in (words_a, words_b)]
    return Overlap(torch.from_numpy(shared), areas[0].unsqueeze(2), areas[1].unsqueeze(1))


def _packed(masks: Tensor, label: int) -> _Words:
    """One bit per voxel, (B, N, words); the bits past the last voxel are 0."""
    octets = np.packbits((masks == label).numpy(), axis=2)
    padded = np.pad(octets, ((0, 0), (0, 0), (0, -octets.shape[2] % 8)))
    return np.ascontiguousarray(padded).view(np.uint64)


def _count_by_product(a: Tensor, b: Tensor, label: int) -> Overlap:
    chunks = zip(torch.split(a, _EXACT_VOXELS, 2), torch.split(b, _EXACT_VOXELS, 2), strict=True)
    sums = [_product(part_a, part_a if a is b else part_b, label) for part_a, part_b in chunks]
    return Overlap(*(torch.stack(parts).double().sum(dim=0) for parts in zip(*sums, strict=True)))


def _product(a: Tensor, b: Tensor, label: int) -> Overlap:
    with torch.autocast(a.device.type, enabled=False):
        mask_a = (a == label).to(torch.float32)
        if a is b:
            product = mask_a @ mask_a.transpose(1, 2)
            area = product.diagonal(dim1=1, dim2=2)
            return Overlap(product, area.unsqueeze(2), area.unsqueeze(1))
        mask_b = (b == label).to(torch.float32)
        product = mask_a @ mask_b.transpose(1, 2)
        return Overlap(product, mask_a.sum(dim=2, keepdim=True), mask_b.sum(dim=2).unsqueeze(1))
