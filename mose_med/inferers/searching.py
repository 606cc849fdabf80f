"""Where the lesions of a region may be: a first look at it, whose answers are positions for a second.

A network that was trained with lesions in the middle of its windows expects one there, and draws one where there is
none. In this look a window shares three quarters of its width with its neighbour, and its voxels count in a wider
circle around its middle than elsewhere, so that some six windows decide about each voxel: a lesion is seen by most of
them, and what one window draws in its middle by no other. What is found is then measured in windows around its
position, as if that had been listed.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from mose_med.case_contents.lesion_rules import LesionRules
from mose_med.geometry import index_to_mm, translated
from mose_med.inferers.boxes import BoxMask
from mose_med.inferers.lesions.candidates import centroid_mm, found_candidates
from mose_med.inferers.lesions.components import labelled
from mose_med.inferers.lesions.lesion import Lesion
from mose_med.inferers.lesions.measuring import same_lesions_told
from mose_med.inferers.noise import draw_case_noise
from mose_med.inferers.sampling import RegionSampler
from mose_med.inferers.windows.asked_regions import AskedRegion
from mose_med.networks.priors import Codes
from mose_med.runtime.progress import Tell, unseen

__all__ = ["found_again", "found_positions"]

#: Standard deviation of the weights of a window around its middle, as a fraction of its width.
_SIGMA = 0.2
#: Samples of the mean, of all experts together, unless fewer are asked for.
_SAMPLES = 16
#: Digits of millimetres, so that the same place has the same numbers in every orientation of the image.
_DIGITS = 4


def found_positions(
    sampler: RegionSampler,
    asked: AskedRegion,
    inside: NDArray[np.bool_],
    rules: LesionRules,
    affine: NDArray[np.float64],
    *,
    samples_per_expert: int,
    seed: int,
    codes: Codes,
    tell: Tell = unseen,
) -> NDArray[np.float64]:
    """Positions (M, 3), RAS mm, where a lesion may be.

    Args:
        sampler: of the case.
        asked: what to look at.
        inside: where a lesion must have a voxel, (i, j, k) of the input's grid.
        rules: what counts as a lesion.
        affine: of the input's grid.
        samples_per_expert: S of the case.
        seed: of the case.
        codes: of the samples.
        tell: is told how many slices are done.
    """
    samples = min(samples_per_expert, math.ceil(_SAMPLES / sampler.network.num_experts))
    noise = draw_case_noise(sampler.network, samples, 0, seed, codes)
    box, marginals = sampler.marginals(asked.windows, asked.box, noise, _SIGMA, tell)
    positions = [
        _position(candidate.core, affine, rules.reach_mm)
        for marginal in marginals
        for candidate in found_candidates(
            labelled(marginal > rules.threshold)[0], box, inside[box.slices], affine, min_ml=0.0
        )
    ]
    return np.array(sorted(set(positions)), dtype=np.float64).reshape(-1, 3)


def _position(component: BoxMask, affine: NDArray[np.float64], reach_mm: float) -> tuple[float, float, float]:
    """The centroid of a component, or its voxel next to it where that is out of reach."""
    centre = centroid_mm(component, affine)
    voxels = index_to_mm(translated(affine, component.box.start), np.argwhere(component.mask).astype(np.float64))
    away = np.linalg.norm(voxels - centre, axis=1).round(_DIGITS)
    if away.min() > reach_mm:
        centre = np.array(min(voxels[away == away.min()].round(_DIGITS).tolist()))
    x, y, z = centre.round(_DIGITS).tolist()
    return x, y, z


def found_again(lesions: Sequence[Lesion], rules: LesionRules, affine: NDArray[np.float64]) -> list[int]:
    """Which of the lesions at the positions of a first look are lesions, by index: the largest first, each once.

    Args:
        lesions: measured at the positions. Of those that are the same, the largest is one.
        rules: what counts as a lesion.
        affine: of the input's grid.
    """
    voxel_ml = abs(float(np.linalg.det(affine[:3, :3]))) / 1000.0
    large = []
    for index, lesion in enumerate(lesions):
        component = lesion.component
        if component is None or lesion.centroid_mm is None:
            continue
        voxels = int(component.mask.sum())
        if voxels * voxel_ml >= rules.min_ml * (1 - 1e-9):
            large.append((-voxels, *np.round(lesion.centroid_mm[::-1], _DIGITS).tolist(), index))
    order = [one[-1] for one in sorted(large)]
    told = same_lesions_told([lesions[index] for index in order])
    return [index for index, lesion in zip(order, told, strict=True) if lesion.same_as is None]
