"""Measurements over the samples of each listed or found lesion (:mod:`mose_med.inferers.lesions.candidates`).

*In each sample*, the lesion is all connected components of the sample's mask that touch the support, so that a sample
that splits the lesion keeps its pieces, and one that lets it grow along a vessel keeps that too. A sample with no
voxel there is empty. Volumes count voxels. Quantiles of volumes use more samples than the case keeps, where the
source has them: they are looked at in a box around the lesion alone.

*How probable.* Expert probabilities are pooled over the component (without one, over all that is within reach) by
their mean; a sample of expert k weighs ``expert_probs[k] / S``. Entropies are means over the same voxels.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from mose_med.case_contents.lesion_rules import LesionRules
from mose_med.geometry import spacing_mm
from mose_med.inferers.boxes import Box, BoxMask
from mose_med.inferers.lesions.candidates import (
    Candidate,
    ListedPosition,
    centroid_mm,
    found_candidates,
    listed_candidate,
)
from mose_med.inferers.lesions.components import labelled
from mose_med.inferers.lesions.lesion import Lesion, LesionEntropy
from mose_med.inferers.lesions.touching import Touching, touching_components
from mose_med.inferers.lesions.volumes import volume_distribution
from mose_med.inferers.regions import Region, assembled, entropy, entropy_between_experts
from mose_med.inferers.storage import Storage
from mose_med.runtime.progress import Tell, unseen

__all__ = ["LesionSource", "find_lesions", "same_lesions_told"]

#: How far around a lesion, as the samples of the case have it, further samples are looked at.
_AROUND_MM = 3.0


class LesionSource(NamedTuple):
    """A region of a case, and what else is needed to measure its lesions.

    Attributes:
        region: of the case.
        affine: of the input's grid.
        image_shape: of the input's grid.
        num_samples: (K, S).
        storage: of the region's arrays.
        label: name of the class that the region is of.
        more: gives, for a box of the region, further samples there; None where they are not to be had.
    """

    region: Region
    affine: NDArray[np.float64]
    image_shape: tuple[int, int, int]
    num_samples: tuple[int, int]
    storage: Storage
    label: str = ""
    more: Callable[[Box], LesionSource | None] = lambda _: None

    def crop(self, quantity: Callable[[Region], NDArray[np.bool_]], box: Box) -> NDArray[np.bool_]:
        """A mask of the region in a box, (i, j, k)."""
        return assembled([self.region], quantity, box, np.bool_, self.storage.release)


def find_lesions(
    sources: Sequence[LesionSource],
    rules: LesionRules,
    *,
    listed: ListedPosition | None = None,
    tell: Tell = unseen,
) -> list[Lesion]:
    """The lesions of one box where the network looked, in their order.

    Args:
        sources: the region of every foreground class there.
        rules: what counts.
        listed: the position that the region is about; None searches it.
        tell: is told how many lesions of a search are measured.
    """
    if listed is None:
        seen = [one for source in sources for one in _seen(source, _found(source, rules))]
        seen.sort(key=lambda one: -int(one.candidate.core.mask.sum()))
        lesions = []
        for number, one in enumerate(seen, start=1):
            lesions.append(_measured(one, number))
            tell(number, len(seen))
        return lesions
    of_classes = [(source, _listed(source, rules, listed)) for source in sources]
    source, candidate = of_classes[0] if len(of_classes) == 1 else min(of_classes, key=_likeliness)
    return [_measured(one, candidate.number) for one in _seen(source, [candidate])]


def _listed(source: LesionSource, rules: LesionRules, listed: ListedPosition) -> Candidate:
    """The candidate of a position in one class."""
    labels, box = _components(source, rules), source.region.box
    return listed_candidate(labels, box, listed, source.affine, rules.reach_mm, partial(source.crop, _marked))


def _likeliness(of_class: tuple[LesionSource, Candidate]) -> tuple[float, float]:
    """Sort key: the smallest is of the class of a listed position."""
    source, candidate = of_class
    box, mask = candidate.support
    marginal = assembled([source.region], Region.probability, box, np.float32, source.storage.release)
    return candidate.distance_mm, -float(marginal[mask].max())


def _found(source: LesionSource, rules: LesionRules) -> list[Candidate]:
    """The candidates of one class, the largest first."""
    return found_candidates(_components(source, rules), source.region.box, None, source.affine, rules.min_ml)


def _components(source: LesionSource, rules: LesionRules) -> NDArray[np.int32]:
    """Components of the marginal above the threshold, (i, j, k) of the region's box."""
    return labelled(source.crop(partial(_above, threshold=rules.threshold), source.region.box))[0]


class _Seen(NamedTuple):
    """A candidate, and what touches its support in each sample, (K S)."""

    source: LesionSource
    candidate: Candidate
    touching: Sequence[Touching]


def _seen(source: LesionSource, candidates: Sequence[Candidate]) -> list[_Seen]:
    return [_Seen(source, candidate, _in_samples(source, candidate.support)) for candidate in candidates]


def same_lesions_told(lesions: Sequence[Lesion]) -> list[Lesion]:
    """The lesions of a list, each with the number of the first earlier one that is the same."""
    return [
        lesion._replace(same_as=next((other.number for other in lesions[:n] if _are_same(lesion, other)), None))
        for n, lesion in enumerate(lesions)
    ]


def _are_same(one: Lesion, other: Lesion) -> bool:
    """Whether components of one class share more than half of the smaller's voxels."""
    a, b = one.component, other.component
    if a is None or b is None or one.label != other.label or not a.box.overlaps(b.box):
        return False
    both = a.box.intersection(b.box)
    shared = int((a.mask[both.slices_in(a.box)] & b.mask[both.slices_in(b.box)]).sum())
    return 2 * shared > min(int(a.mask.sum()), int(b.mask.sum()))


def _above(region: Region, threshold: float) -> NDArray[np.bool_]:
    return region.probability() > threshold


def _marked(region: Region) -> NDArray[np.bool_]:
    """Mask of the voxels that any sample has."""
    return np.asarray(region.sample_bits.any(axis=-1))


def _in_samples(source: LesionSource, support: BoxMask) -> list[Touching]:
    """The components of each sample that touch a support, (K S)."""
    region = source.region
    found = touching_components(region.sample_bits, region.box, support, int(np.prod(source.num_samples)))
    source.storage.release()
    return found


def _volumes_ml(source: LesionSource, touching: Sequence[Touching]) -> NDArray[np.float64]:
    """Volume of a lesion in every sample, (K, S)."""
    voxel_ml = abs(float(np.linalg.det(source.affine[:3, :3]))) / 1000.0
    return np.array([found.voxels for found in touching], dtype=np.float64).reshape(source.num_samples) * voxel_ml


def _extent(support: BoxMask, touching: Sequence[Touching]) -> Box:
    """Box of a lesion: its support, and what touches that in every sample."""
    box = support.box
    for found in touching:
        box = box if found.box is None else box.union(found.box)
    return box


def _more_volumes_ml(source: LesionSource, support: BoxMask, box: Box) -> NDArray[np.float64] | None:
    """Volume of a lesion in further samples, (K, V); None where there are none."""
    margin = np.ceil(_AROUND_MM / spacing_mm(source.affine)).astype(int).tolist()
    more = source.more(box.grown(margin, source.region.box))
    return None if more is None else _volumes_ml(more, _in_samples(more, support))


def _measured(seen: _Seen, number: int) -> Lesion:
    source, candidate, touching = seen
    means = _means(source, candidate)
    probs = np.asarray(means.expert_probs / float(means.expert_probs.sum()), dtype=np.float64)
    box = _extent(candidate.support, touching)
    volumes, more = _volumes_ml(source, touching), _more_volumes_ml(source, candidate.support, box)
    return Lesion(
        number=number,
        position_mm=_triple(candidate.position_mm),
        in_consensus=candidate.component is not None and means.in_consensus,
        centroid_mm=None if candidate.component is None else _triple(centroid_mm(candidate.component, source.affine)),
        expert_probs=probs,
        volume_ml=volume_distribution(volumes, probs, more),
        touches_edge=candidate.component is not None and _touches_unseen(source, candidate),
        entropy=LesionEntropy(means.total, means.between, max(means.total - means.between, 0.0)),
        found=candidate.component,
        box=box,
        label=source.label,
    )


class _Means(NamedTuple):
    """Statistics of a lesion's voxels: expert probabilities (K,), entropies, and whether one is above one half."""

    expert_probs: NDArray[np.float64]
    total: float
    between: float
    in_consensus: bool


def _means(source: LesionSource, candidate: Candidate) -> _Means:
    """Means over the voxels of a candidate where the network looked, a few slices at a time."""
    core, sums, count, in_consensus = candidate.core, np.zeros(source.num_samples[0] + 2), 0, False
    for slab in core.box.slabs():
        part = source.region.crop(slab)
        where = core.mask[slab.slices_in(core.box)] & part.looked()
        count += int(where.sum())
        in_consensus = in_consensus or bool(part.consensus()[where].any())
        sums[:-2] += part.expert_probs()[where].sum(axis=0, dtype=np.float64)
        sums[-2:] += [of(part)[where].sum(dtype=np.float64) for of in (entropy, entropy_between_experts)]
        source.storage.release()
    means = sums / count
    return _Means(means[:-2], float(means[-2]), float(means[-1]), in_consensus)


def _touches_unseen(source: LesionSource, candidate: Candidate) -> bool:
    """Whether a voxel next to the component was in no window, or the image ends there."""
    core = candidate.core
    inside = np.argwhere(core.mask) + core.box.start
    if (inside == 0).any() or (inside == np.subtract(source.image_shape, 1)).any():
        return True
    around = core.box.grown(1, Box((0, 0, 0), source.image_shape))
    mask = np.zeros(around.shape, dtype=bool)
    mask[core.box.slices_in(around)] = core.mask
    seen = source.crop(Region.looked, around)
    return bool((ndimage.binary_dilation(mask) & ~seen).any())


def _triple(values: NDArray[np.float64]) -> tuple[float, float, float]:
    x, y, z = values.tolist()
    return x, y, z
