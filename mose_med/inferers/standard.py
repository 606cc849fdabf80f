"""The standard form of a case: N' equally likely samples, each with one code and one uniform number.

The uniform number of a sample chooses its expert by the inverse distribution function of a lesion's pooled expert
probabilities; each voxel follows the lesion whose position is nearest. Where lesions have much the same expert
probabilities, a sample therefore has the same expert throughout the case.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from mose_med.geometry import index_to_mm, translated
from mose_med.inferers.boxes import Box
from mose_med.inferers.lesions.lesion import Lesion
from mose_med.inferers.regions import Region, pack

__all__ = ["choose_standard_samples", "chosen_experts"]

_RELEASE_SLICES = 16


def chosen_experts(expert_probs: NDArray[np.floating], uniforms: NDArray[np.floating]) -> NDArray[np.intp]:
    """Expert of every sample (N',) by inverse distribution function of ``expert_probs`` (K,).

    Example:
        >>> chosen_experts(np.array([0.25, 0.75]), np.array([0.2, 0.3])).tolist()
        [0, 1]
    """
    cumulated = np.cumsum(expert_probs)
    experts = np.searchsorted(cumulated / cumulated[-1], uniforms, side="right")
    return np.asarray(np.minimum(experts, len(cumulated) - 1))


def choose_standard_samples(
    region: Region,
    lesions: Sequence[Lesion],
    affine: NDArray[np.float64],
    uniforms: NDArray[np.float64],
    release: Callable[[], None] = lambda: None,
) -> Region:
    """Keep, of the candidates in ``standard_bits`` (one mask per expert and sample), the chosen masks (N').

    A region without lesions follows its own mean expert probabilities. The candidates are overwritten, slice by slice.
    """
    if not len(uniforms):
        return region
    experts = np.stack([chosen_experts(probs, uniforms) for probs in _expert_probs(region, lesions, release)])
    for k in range(region.box.start[2], region.box.stop[2]):
        start, stop = (*region.box.start[:2], k), (*region.box.stop[:2], k + 1)
        part = region.crop(Box(start, stop))
        asked = np.asarray(part.standard_bits.any(axis=-1))
        nearest = np.zeros(asked.shape, dtype=np.intp)
        nearest[asked] = _nearest_lesion(part, asked, lesions, affine)
        candidates = np.unpackbits(part.standard_bits, axis=-1)
        wanted = experts[nearest] * len(uniforms) + np.arange(len(uniforms))
        chosen = pack(np.take_along_axis(candidates, wanted, axis=-1).astype(bool))
        part.standard_bits[...] = 0
        part.standard_bits[..., : chosen.shape[-1]] = chosen
        if k % _RELEASE_SLICES == 0:
            release()
    return region._replace(standard_bits=region.standard_bits[..., : -(-len(uniforms) // 8)])


def _expert_probs(region: Region, lesions: Sequence[Lesion], release: Callable[[], None]) -> list[NDArray[np.floating]]:
    if lesions:
        return [lesion.expert_probs for lesion in lesions]
    experts = range(region.gating.shape[-1])
    total = np.zeros(len(experts))
    for k in range(region.box.shape[2]):
        total += region.gating[:, :, k].sum(axis=(0, 1), dtype=np.float64)
        release()
    return [total]


def _nearest_lesion(
    part: Region, asked: NDArray[np.bool_], lesions: Sequence[Lesion], affine: NDArray[np.float64]
) -> NDArray[np.intp]:
    """Index of the lesion whose position is nearest, the first of several, for the voxels that are asked for."""
    points = index_to_mm(translated(affine, part.box.start), np.argwhere(asked).astype(np.float64))
    nearest, least = np.zeros(len(points), dtype=np.intp), np.full(len(points), np.inf)
    for n, lesion in enumerate(lesions):
        distance = np.round(np.linalg.norm(points - lesion.position_mm, axis=-1), 6)
        nearest[distance < least] = n
        np.minimum(least, distance, out=least)
    return nearest
