"""A lung mask by threshold and morphology, to say where to look. It is not a segmentation to measure.

1. The volume is looked at with steps of about 3 mm.
2. Air and lung are what lies below -320 HU.
3. What is connected, within a slice, to the edge of the slice is outside the patient and goes.
4. Of the rest, the largest connected component and a second one of at least a tenth of its size are the lungs (often
   they are one, joined by the airways). Without a slice on which they have 20 cm2, there are none.
5. Closing with a ball of 12 mm takes in vessels and nodules on the pleura, and holes within a slice are filled.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from mose_med.errors import DataError
from mose_med.geometry import spacing_mm

__all__ = ["lung_mask"]

_AIR_BELOW_HU = -320
_STEP_MM = 3.0
_CLOSING_MM = 12.0
_SMALLEST_CM2 = 20.0
_SECOND_LUNG = 0.1


def lung_mask(values: NDArray[Any], affine: NDArray[np.floating]) -> NDArray[np.bool_]:
    """Mask of the lungs, nodules on the pleura included.

    Args:
        values: HU (i, j, k), slices axial.
        affine: of the values, RAS mm.

    Returns:
        Mask (i, j, k) of the values, in steps of about 3 mm.

    Raises:
        DataError: if there are no lungs.
    """
    spacing = spacing_mm(affine)
    steps = [max(1, math.floor(_STEP_MM / length + 0.5)) for length in spacing.tolist()]
    firsts = [min(step // 2, size - 1) for step, size in zip(steps, values.shape, strict=True)]
    coarse = values[tuple(slice(first, None, step) for first, step in zip(firsts, steps, strict=True))]
    coarse_mm = spacing * steps
    lungs = _lungs(_without_outside(coarse < _AIR_BELOW_HU), float(np.prod(coarse_mm[:2])) / 100.0)
    closed = _closed(lungs, coarse_mm)
    indices = [
        np.minimum(np.arange(size) // step, length - 1)
        for size, step, length in zip(values.shape, steps, closed.shape, strict=True)
    ]
    return np.asarray(closed[np.ix_(*indices)])


def _without_outside(air: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Air that no path within its slice joins to the edge of the slice."""
    in_plane = np.zeros((3, 3, 3), dtype=bool)
    in_plane[:, :, 1] = ndimage.generate_binary_structure(2, 1)
    labels, count = ndimage.label(air, structure=in_plane)
    outside = np.zeros(count + 1, dtype=bool)
    for rim in (labels[0], labels[-1], labels[:, 0], labels[:, -1]):
        outside[rim] = True
    outside[0] = True
    return np.asarray(~outside[labels])


def _lungs(inside: NDArray[np.bool_], pixel_cm2: float) -> NDArray[np.bool_]:
    labels, _ = ndimage.label(inside)
    sizes = np.bincount(labels.ravel())
    sizes[0] = 0
    order = np.argsort(-sizes, kind="stable")[:2]
    chosen = [int(label) for label in order if sizes[label] > 0 and sizes[label] >= _SECOND_LUNG * sizes[order[0]]]
    lungs = np.asarray(np.isin(labels, chosen))
    if lungs.sum(axis=(0, 1)).max(initial=0) * pixel_cm2 < _SMALLEST_CM2:
        raise DataError(
            f"no lungs were found in the image ({_SMALLEST_CM2:g} cm2 of air inside the patient on a slice): give "
            "nodule positions (--nodules), a lung mask (--lung-mask) or the region full (--region full)"
        )
    return lungs


def _closed(mask: NDArray[np.bool_], spacing: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Closing by a ball, through distances; beyond the first and last slice the lungs continue."""
    margins = [math.ceil(_CLOSING_MM / length) + 1 for length in spacing.tolist()]
    margins[2] = 0
    padded = np.pad(mask, [(margin, margin) for margin in margins])
    grown = ndimage.distance_transform_edt(~padded, sampling=spacing) <= _CLOSING_MM
    shrunk = ndimage.distance_transform_edt(grown, sampling=spacing) > _CLOSING_MM
    inner = shrunk[margins[0] : -margins[0], margins[1] : -margins[1]] | mask
    for k in range(inner.shape[2]):
        inner[..., k] = ndimage.binary_fill_holes(inner[..., k])
    return np.asarray(inner)
