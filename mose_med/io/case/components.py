"""The component of a lesion of a case that was read back: computed from the maps on demand."""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from mose_med.case_contents.lesion_rules import LESION_THRESHOLD
from mose_med.inferers import Box, Lesion
from mose_med.inferers.boxes import BoxMask, bounding_box
from mose_med.inferers.lesions.candidates import centroid_mm
from mose_med.inferers.lesions.components import labelled

if TYPE_CHECKING:
    from mose_med.io.case.folder import CaseFolder

__all__ = ["StoredComponent"]

#: Threshold of the marginal that the map of the consensus is made with.
_CONSENSUS_THRESHOLD = 0.5


class StoredComponent:
    """The component of a lesion, as ``lesion.found`` takes it.

    The box of the lesion holds its component, which is the one whose centroid is that of the lesion. At a threshold
    of one half the map of the consensus has it exactly; at another one the stored probability has it, which is off by
    1/2048 at most unless the maps are stored in full.

    Args:
        case: that was read back.
        lesion: of the case.
    """

    def __init__(self, case: CaseFolder, lesion: Lesion) -> None:
        self._case = case
        self._lesion = lesion

    def __call__(self) -> BoxMask | None:
        """Read it, once."""
        return self._component

    @cached_property
    def _component(self) -> BoxMask | None:
        box, centroid = self._lesion.box, self._lesion.centroid_mm
        if box is None or centroid is None:
            return None
        threshold = self._case.provenance.get("options", {}).get("lesion_threshold", LESION_THRESHOLD)
        exact = threshold == _CONSENSUS_THRESHOLD
        (crop,) = self._case.own_crops("consensus" if exact else "probability", [box], [self._lesion.number])
        values: NDArray[Any] = crop
        labels, count = labelled(np.asfortranarray(values > (0 if exact else threshold)))
        parts = [_part(labels == label, box) for label in range(1, count + 1)]
        place = np.asarray(centroid)
        return min(
            parts, key=lambda part: float(np.linalg.norm(centroid_mm(part, self._case.affine) - place)), default=None
        )


def _part(mask: NDArray[np.bool_], box: Box) -> BoxMask:
    inner = bounding_box(mask)
    return BoxMask(inner.moved(box.start), mask[inner.slices])
