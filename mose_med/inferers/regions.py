"""Regions: the boxes of a case where the network looked, and its predictions there.

Everything is kept per voxel of the input's own grid and small: the N = K S sample masks as bits, expert means and
gating in half precision. Axes: i, j, k space, K experts, S samples per expert, ``n = k S + s``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray

from mose_med.inferers.boxes import Box, distance_mm
from mose_med.metrics import predictive_entropy

__all__ = [
    "Region",
    "assembled",
    "entropy",
    "entropy_between_experts",
    "halved",
    "nearest_shares",
    "pack",
    "unpack",
]

Scalar = TypeVar("Scalar", bound=np.generic)
#: Half precision has a sign, 5 bits of exponent and 10 of fraction, single precision 8 and 23.
_WITHOUT_SIGN, _FURTHER_BITS, _FROM_EXPONENT = 0x7FFF, 23 - 10, np.float32(2.0 ** (127 - 15))


def pack(masks: NDArray[np.bool_]) -> NDArray[np.uint8]:
    """Masks (..., N) as bits (..., ceil(N / 8)), first mask in the highest bit."""
    return np.packbits(masks, axis=-1)


def unpack(bits: NDArray[np.uint8], index: int) -> NDArray[np.bool_]:
    """Mask ``index`` (...) of bits (..., ceil(N / 8)).

    Example:
        >>> unpack(pack(np.array([[False, True, False]])), 1)
        array([ True])
    """
    return np.asarray((bits[..., index // 8] >> (7 - index % 8)) & 1 == 1)


def halved(values: NDArray[np.float32]) -> NDArray[np.float16]:
    """Values in half precision, rounded as NumPy does, which takes forty times as long where they are very small.

    Example:
        >>> halved(np.array([0.1, 1e-7], dtype=np.float32))
        array([1.e-01, 1.e-07], dtype=float16)
    """
    return np.asarray(torch.from_numpy(values).half().numpy())


class Region(NamedTuple):
    """Predictions of the network in one box of the input's grid.

    Attributes:
        box: where.
        sample_bits: masks of the samples, bits (i, j, k, ceil(K S / 8)).
        expert_means: mean foreground probability of every expert, float16 (i, j, k, K).
        gating: expert probabilities, float16 (i, j, k, K); all 0 where no window was.
        standard_bits: masks of the standard form, bits (i, j, k, ceil(N' / 8)); no bits if it was not asked for.
    """

    box: Box
    sample_bits: NDArray[np.uint8]
    expert_means: NDArray[np.float16]
    gating: NDArray[np.float16]
    standard_bits: NDArray[np.uint8]

    def crop(self, box: Box) -> Region:
        """The part that lies in a box of the input's grid; arrays are views."""
        inner = self.box.intersection(box)
        part = inner.slices_in(self.box)
        return Region(
            inner, self.sample_bits[part], self.expert_means[part], self.gating[part], self.standard_bits[part]
        )

    def looked(self) -> NDArray[np.bool_]:
        """Mask of the voxels that a window covers, (i, j, k)."""
        return self._total() > 0

    def expert_prob(self, expert: int) -> NDArray[np.float32]:
        """Probability (i, j, k) of one expert, counted from 0; those of all sum to 1 where a window was."""
        return _float32(self.gating[..., expert]) / self._divisor()

    def expert_probs(self) -> NDArray[np.float32]:
        """Expert probabilities (i, j, k, K), summing to 1 where a window was and 0 elsewhere."""
        probs, divisor = np.empty(self.gating.shape, dtype=np.float32, order="F"), self._divisor()
        for expert in range(self.gating.shape[-1]):
            np.divide(_float32(self.gating[..., expert]), divisor, out=probs[..., expert])
        return probs

    def experts(self) -> Iterator[tuple[NDArray[np.float32], NDArray[np.float32]]]:
        """For each expert in turn, its probability and its mean foreground probability, (i, j, k).

        Arrays of one expert fit in the cache, those of all do not.
        """
        divisor = self._divisor()
        for expert in range(self.gating.shape[-1]):
            yield _float32(self.gating[..., expert]) / divisor, _float32(self.expert_means[..., expert])

    def probability(self) -> NDArray[np.float32]:
        """Marginal foreground probability (i, j, k): expert means weighted by expert probabilities."""
        marginal = np.zeros(self.box.shape, dtype=np.float32, order="F")
        for probs, means in self.experts():
            marginal += probs * means
        return marginal

    def _total(self) -> NDArray[np.float32]:
        """Sum of the gating (i, j, k), one except for rounding where a window was."""
        total = np.zeros(self.box.shape, dtype=np.float32, order="F")
        for expert in range(self.gating.shape[-1]):
            total += _float32(self.gating[..., expert])
        return total

    def _divisor(self) -> NDArray[np.float32]:
        total = self._total()
        total[total == 0] = 1
        return total

    def consensus(self) -> NDArray[np.bool_]:
        """Mask of a marginal probability above one half, (i, j, k)."""
        return self.probability() > 0.5


def _float32(values: NDArray[np.float16]) -> NDArray[np.float32]:
    """Half precision, not negative, widened exactly; in a half to a seventh of the time of ``astype``.

    Exponent and fraction are moved to where single precision has them, and the exponents, which count from 15 and from
    127, brought to the same by a product.
    """
    bits = values.view(np.uint16).astype(np.uint32)
    bits &= _WITHOUT_SIGN
    bits <<= _FURTHER_BITS
    wide = bits.view(np.float32)
    wide *= _FROM_EXPONENT
    return wide


def assembled(
    regions: Sequence[Region],
    quantity: Callable[[Region], NDArray[Scalar]],
    box: Box,
    dtype: type[Scalar],
    release: Callable[[], None] = lambda: None,
    shares: Sequence[NDArray[np.bool_] | None] | None = None,
) -> NDArray[Scalar]:
    """A quantity of several regions in a box of the input's grid.

    Args:
        regions: of the case.
        quantity: of a region, (i, j, k); computed a few slices at a time.
        box: of the input's grid.
        dtype: of the result.
        release: called after every few slices, to release their pages.
        shares: of every region the voxels (i, j, k) of its box that it provides, or None for all; None if no two
            regions share a voxel.

    Returns:
        (i, j, k) of the box, 0 outside the regions; the first axis runs fastest in memory.
    """
    result = np.zeros(box.shape, dtype=dtype, order="F")
    for region, share in zip(regions, shares or [None] * len(regions), strict=True):
        for part in region.box.intersection(box).slabs():
            where = True if share is None else share[part.slices_in(region.box)]
            np.copyto(result[part.slices_in(box)], quantity(region.crop(part)), where=where, casting="unsafe")
            release()
    return result


def entropy(region: Region) -> NDArray[np.float32]:
    """Entropy of the marginal (i, j, k); 0 where no window was."""
    return _of_two_classes(region.probability())


def entropy_between_experts(region: Region) -> NDArray[np.float32]:
    """Mutual information of expert and label (i, j, k), as :func:`~mose_med.metrics.expert_entropy_split` has it.

    It is 0 where no window was.
    """
    marginal, within = (np.zeros(region.box.shape, dtype=np.float32, order="F") for _ in range(2))
    for probs, means in region.experts():
        marginal += probs * means
        within += probs * _of_two_classes(means)
    return np.asarray(np.maximum(_of_two_classes(marginal) - within, 0))


def _of_two_classes(foreground: NDArray[np.float32]) -> NDArray[np.float32]:
    """Entropy of voxels that are foreground with a probability, which rounding may have left beyond 0 or 1."""
    probs = torch.from_numpy(foreground).clamp(0, 1)
    return np.asarray(predictive_entropy(torch.stack([1 - probs, probs])[None])[0].numpy())


def nearest_shares(
    boxes: Sequence[Box], positions_mm: Sequence[NDArray[np.float64]], affine: NDArray[np.float64]
) -> list[NDArray[np.bool_] | None]:
    """For every box, the voxels that are nearer to its position than to that of any other box that holds them.

    Of equally distant positions, the one with the smallest coordinates gets the voxel, in any order.

    Args:
        boxes: of the input's grid.
        positions_mm: of each box, RAS.
        affine: of the input's grid.

    Returns:
        Masks (i, j, k) of the boxes; None where no other box shares a voxel.

    Example:
        >>> boxes = [Box((0, 0, 0), (4, 1, 1)), Box((2, 0, 0), (6, 1, 1))]
        >>> shares = nearest_shares(boxes, [np.array([1.5, 0, 0]), np.array([3.5, 0, 0])], np.eye(4))
        >>> [share.ravel().tolist() for share in shares]
        [[True, True, True, False], [False, True, True, True]]
    """
    order = sorted(range(len(boxes)), key=lambda n: (*positions_mm[n].tolist(), n))
    rank = {n: place for place, n in enumerate(order)}
    shares: list[NDArray[np.bool_] | None] = [None] * len(boxes)
    for n, box in enumerate(boxes):
        for other in range(len(boxes)):
            if other == n or not boxes[other].overlaps(box):
                continue
            both = box.intersection(boxes[other])
            own, others = (distance_mm(both, positions_mm[of], affine) for of in (n, other))
            share = shares[n]
            if share is None:
                share = np.ones(box.shape, dtype=np.bool_)
            share[both.slices_in(box)] &= own <= others if rank[n] < rank[other] else own < others
            shares[n] = share
    return shares
