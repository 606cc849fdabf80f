"""The maps of a case in a box of fixed size around a lesion, for display.

The box is :data:`VIEW_MM` wide about the lesion's centroid (about the listed position where the consensus has none),
cut off at the edge of the image, on the input's own voxels. Axes are reordered and flipped, without loss, to i to the
patient's left, j to posterior, k to superior.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from mose_med.case_contents.maps import maps_of_kind
from mose_med.geometry import Affine, Reorientation, mm_to_index, reorientation, spacing_mm, translated
from mose_med.inferers import Box, Lesion
from mose_med.io.case.maps import CaseMaps

__all__ = ["VIEW_MM", "LesionVolumes", "read_lesion_volumes", "view_box"]

#: Edges of the box in mm: left to right, front to back, bottom to top.
VIEW_MM = (72.0, 72.0, 48.0)
_ORIENTATION = "LPS"


class LesionVolumes(NamedTuple):
    """The maps of one box; axes i, j, k in LPS orientation, K experts, S samples.

    Attributes:
        affine: of the box, RAS mm.
        image: CT, HU; not a number where no CT is given.
        samples: mask of every sample, (i, j, k, K, S).
        consensus: where the marginal is above one half.
        probability: marginal foreground probability.
        entropy: of the marginal, nats.
        expert_probability: mean foreground probability of each expert, (i, j, k, K); None where the case has none.
        entropy_between_experts: the part of the entropy that experts differ about, nats; None where the case has none.
    """

    affine: Affine
    image: NDArray[np.float32]
    samples: NDArray[np.bool_]
    consensus: NDArray[np.bool_]
    probability: NDArray[np.float32]
    entropy: NDArray[np.float32]
    expert_probability: NDArray[np.float32] | None = None
    entropy_between_experts: NDArray[np.float32] | None = None

    @property
    def has_ct(self) -> bool:
        """Whether there is a CT to show."""
        return not bool(np.isnan(self.image).any())


def view_box(affine: Affine, shape: tuple[int, ...], place_mm: tuple[float, float, float]) -> Box:
    """Box of fixed size in mm around a place, in a grid of LPS orientation, cut off at its edge.

    Example:
        >>> view_box(np.diag([-2.0, -2.0, 3.0, 1.0]), (100, 100, 30), (-100.0, -10.0, 30.0))
        Box(start=(32, 0, 2), stop=(68, 23, 18))
    """
    wanted = np.ceil(np.asarray(VIEW_MM) / spacing_mm(affine)).astype(int)
    first = np.floor(mm_to_index(affine, np.asarray(place_mm)) + 0.5).astype(int) - wanted // 2
    start, stop = np.clip(first, 0, shape), np.clip(first + wanted, 0, shape)
    return Box((int(start[0]), int(start[1]), int(start[2])), (int(stop[0]), int(stop[1]), int(stop[2])))


def read_lesion_volumes(
    case: CaseMaps, image_hu: NDArray[np.floating] | None, lesions: Sequence[Lesion]
) -> list[LesionVolumes]:
    """Read the boxes around several lesions, each in its own region; every file of the case is read once.

    Args:
        case: in memory, or a finished one.
        image_hu: the CT it was inferred from, (i, j, k) on the grid of the case; None for none.
        lesions: of the case.

    Raises:
        DataError: if a map cannot be read.
    """
    steps = reorientation(case.affine, _ORIENTATION)
    oriented = steps.apply(np.broadcast_to(np.float32(np.nan), case.shape) if image_hu is None else image_hu)
    affine = steps.affine(case.affine, case.shape)
    views = [view_box(affine, oriented.shape, lesion.place_mm) for lesion in lesions]
    boxes = [view.undo(steps, case.shape) for view in views]
    read = partial(_oriented, case, boxes=boxes, numbers=[lesion.number for lesion in lesions], steps=steps)
    maps = {name: read(name) for name in _MAPS}
    samples = [read(name) for name in maps_of_kind("masks", case.num_experts)]
    means = [read(name) for name in case.maps("foreground_probability")]
    (between,) = map(read, case.maps("entropy_between_experts")) if case.maps("entropy_between_experts") else (None,)
    return [
        LesionVolumes(
            affine=translated(affine, view.start),
            image=oriented[view.slices].astype(np.float32),
            samples=_by_expert([masks[index] for masks in samples], bool),
            consensus=maps["consensus"][index].astype(bool),
            probability=maps["probability"][index].astype(np.float32, copy=False),
            entropy=maps["entropy"][index].astype(np.float32, copy=False),
            expert_probability=_by_expert([mean[index] for mean in means], np.float32) if means else None,
            entropy_between_experts=None if between is None else between[index].astype(np.float32, copy=False),
        )
        for index, view in enumerate(views)
    ]


_MAPS = ("consensus", "probability", "entropy")


def _by_expert(maps: Sequence[NDArray[np.generic]], dtype: type) -> NDArray[Any]:
    """Maps (i, j, k, ...) of all experts as one, (i, j, k, K, ...), in the order in which files hold them."""
    first = maps[0]
    joined = np.empty((*first.shape[:3], len(maps), *first.shape[3:]), dtype, order="F")
    for expert, values in enumerate(maps):
        joined[:, :, :, expert] = values
    return joined


def _oriented(
    case: CaseMaps, name: str, boxes: Sequence[Box], numbers: Sequence[int], steps: Reorientation
) -> list[NDArray[np.generic]]:
    return [steps.apply(crop) for crop in case.own_crops(name, boxes, numbers)]
