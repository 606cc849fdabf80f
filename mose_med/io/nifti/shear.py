"""Volumes whose axes are not at right angles, such as slices of a tilted gantry in one file.

They are treated as the same slices in DICOM: refused, or laid on a right-angled grid. A shear of up to half a degree is
read as it is: direction cosines of two or three digits make as much.
"""

from __future__ import annotations

import logging
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from mose_med.ct_image import CtImage
from mose_med.errors import GeometryError
from mose_med.geometry import Affine, reorientation, spacing_mm
from mose_med.io.dicom.stacking.resampling import planes_on_grid
from mose_med.io.dicom.stacking.stack import TILT_REMEDY, GantryTilt, Grid
from mose_med.io.hu_volume import stacked_hu
from mose_med.io.study import Study

__all__ = ["upright"]

_LOGGER = logging.getLogger(__name__)
_MAX_SHEAR_DEGREES = 0.5


def upright(study: Study, name: str, gantry_tilt: GantryTilt) -> Study:
    """The study on a right-angled grid.

    Args:
        study: as it was read.
        name: of its file, for messages.
        gantry_tilt: ``refuse`` a volume that is sheared, or ``correct`` one whose slices are shifted in their plane.

    Raises:
        GeometryError: if it is sheared and may not, or cannot, be corrected.
    """
    affine = np.asarray(study.image.affine, dtype=np.float64)
    if _shear_degrees(affine).max() <= _MAX_SHEAR_DEGREES:
        return study
    steps = reorientation(affine, "LPS")
    values = steps.apply(study.image.as_tensor()[0].numpy())
    sheared = steps.affine(affine, study.image.shape[1:])
    pair = _shear_degrees(sheared)[2]
    if pair > _MAX_SHEAR_DEGREES:
        raise GeometryError(
            f"{name}: the rows and columns of its slices must meet at right angles, they are {pair:.1f} degrees off: "
            "resample it on a right-angled grid"
        )
    laid = _laid(sheared, values.shape)
    shift = float(np.linalg.norm(laid.shift_mm)) * (values.shape[2] - 1)
    degrees = float(np.degrees(np.arctan2(np.linalg.norm(laid.shift_mm), laid.step_mm)))
    if gantry_tilt == "refuse":
        raise GeometryError(
            f"{name}: its slices are shifted in their plane by up to {shift:.2f} mm, as by a gantry tilted by "
            f"{degrees:.1f} degrees{TILT_REMEDY}"
        )
    correction = f"slices are shifted in their plane by up to {shift:.2f} mm: gantry tilt of {degrees:.1f} degrees"
    _LOGGER.warning("corrected: %s", correction)
    planes = planes_on_grid((values[..., k].T.astype(np.float32) for k in range(values.shape[2])), laid.grid)
    volume = np.ascontiguousarray(steps.undo(stacked_hu(planes, laid.grid.shape)))
    # The same steps take the grid back to the order and directions of the axes of the file.
    to_laid = steps.affine(np.eye(4), volume.shape)
    image = CtImage(torch.from_numpy(volume)[None], torch.from_numpy(laid.affine @ np.linalg.inv(to_laid)))
    return study._replace(image=image, corrections=(*study.corrections, correction), transforms=None)


def _shear_degrees(affine: Affine) -> NDArray[np.float64]:
    """How far axes 1 and 2, 2 and 0, 0 and 1 are from a right angle, in this order."""
    directions = affine[:3, :3] / spacing_mm(affine)
    cosines = np.abs([directions[:, one] @ directions[:, two] for one, two in ((1, 2), (2, 0), (0, 1))])
    return np.asarray(np.degrees(np.arcsin(np.clip(cosines, 0, 1))))


class _Laid(NamedTuple):
    """How sheared slices lie on a right-angled grid; shift and distance of neighbouring slices in mm."""

    grid: Grid
    affine: Affine
    shift_mm: NDArray[np.float64]
    step_mm: float


def _laid(sheared: Affine, shape: tuple[int, ...]) -> _Laid:
    """The smallest grid of the planes' own voxels that holds all of them."""
    row, column, to_next = sheared[:3, :3].T
    normal = np.cross(row, column)
    normal /= np.linalg.norm(normal) * np.sign(normal @ to_next)
    step_mm = float(normal @ to_next)
    shift_mm = to_next - step_mm * normal
    # Rows and columns may be a little off the right angle, so the shift is solved for, not projected.
    shift = np.linalg.lstsq(np.stack([row, column], axis=1), shift_mm, rcond=None)[0]
    shifts = np.outer(np.arange(shape[2]), shift).round(6)
    start = np.floor(shifts.min(axis=0))
    width, height = (np.asarray(shape[:2]) + np.ceil(shifts.max(axis=0)) - start).astype(int).tolist()
    affine = sheared.copy()
    affine[:3, 2] = normal * step_mm
    affine[:3, 3] += sheared[:3, :2] @ start
    grid = Grid((width, height, shape[2]), shifts - start, np.arange(shape[2], dtype=np.float64))
    return _Laid(grid, affine, shift_mm, step_mm)
