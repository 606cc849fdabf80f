"""The positions of the slices of one CT series, and whether they form a volume.

DICOM's patient axes are LPS; the affines that leave this module are RAS. Array axes are (i, j, k) = (column, row,
slice), slices ascending along the normal of the image plane. The volume's grid is right-angled: where slices are
shifted against each other in their plane, as by a tilted gantry, or not equally spaced, it is another grid than theirs,
and the stack says how slices are laid on it.
"""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from mose_med.errors import ConfigError, GeometryError
from mose_med.geometry import LPS_TO_RAS, checked_affine
from mose_med.io.dicom.stacking.acquisitions import named_acquisitions

if TYPE_CHECKING:
    from mose_med.io.dicom.headers import SliceHeader

__all__ = [
    "TILT_REMEDY",
    "GantryTilt",
    "Grid",
    "SliceSpacing",
    "Stack",
    "check_gantry_tilt",
    "ordered_stack",
    "plane_normal",
]

SliceSpacing = Literal["refuse", "resample"]
GantryTilt = Literal["refuse", "correct"]
#: Ends a refusal of shifted slices.
TILT_REMEDY = " (gantry_tilt 'correct' lays them on a right-angled grid)"

#: How far a slice may lie from its place in an equally spaced stack, in slice spacings.
_MAX_SPACING_ERROR = 0.1
#: How far slices may be shifted in their plane: in mm, and as a share of their distance from the first, which direction
#: cosines of three digits leave open.
_MAX_SHIFT_MM = 0.05
_MAX_SHIFT_SHARE = 1e-3


class Grid(NamedTuple):
    """How slices are resampled to another grid.

    Attributes:
        shape: of the grid, (i, j, k).
        shifts: where pixel (0, 0) of each slice lies on the grid, in pixels along i and j, (n, 2).
        places: of each plane of the grid among the slices, (k,): 2.25 is a quarter of the way from slice 2 to slice 3.
    """

    shape: tuple[int, int, int]
    shifts: NDArray[np.float64]
    places: NDArray[np.float64]


class Stack(NamedTuple):
    """Slices in order, and the RAS-mm affine (4, 4) of the array (i, j, k) that they make.

    Attributes:
        slices: ascending along their normal.
        affine: of the volume.
        grid: on which the slices are laid; None where it is their own.
        corrections: what the grid makes good, in words.
    """

    slices: list[SliceHeader]
    affine: NDArray[np.float64]
    grid: Grid | None = None
    corrections: tuple[str, ...] = ()


def ordered_stack(
    headers: list[SliceHeader], *, slice_spacing: SliceSpacing = "refuse", gantry_tilt: GantryTilt = "refuse"
) -> Stack:
    """Sort the slices of one series by position along their normal, and check that they form a volume.

    Args:
        headers: of one series.
        slice_spacing: ``resample`` lays slices that are missing or not equally spaced on equally spaced planes.
        gantry_tilt: ``correct`` lays slices that are shifted in their plane on a right-angled grid that holds them all.

    Raises:
        ConfigError: if an option is invalid.
        GeometryError: if slices differ in size, orientation or pixel spacing, or lie at the same place; unless the
            options say otherwise, also if they leave a gap, are not equally spaced, or are shifted against each other
            as by a tilted gantry.
    """
    _check_option("slice_spacing", slice_spacing, ("refuse", "resample"))
    check_gantry_tilt(gantry_tilt)
    first = headers[0]
    for header in headers[1:]:
        _require_same_grid(first, header)
    normal = plane_normal(first)
    slices = sorted(headers, key=lambda header: float(np.dot(normal, header.position or ())))
    positions = np.asarray([header.position for header in slices], dtype=np.float64)
    along = (positions - positions[0]) @ normal
    _require_distinct(slices, along)
    shifts_mm = positions - positions[0] - np.outer(along, normal)
    corrections = [
        *_spacing_fault(slices, along, refused=slice_spacing == "refuse"),
        *_tilt_fault(slices, along, shifts_mm, refused=gantry_tilt == "refuse"),
    ]
    if not corrections:
        return Stack(slices, _affine(slices[0], along[-1] / (len(slices) - 1)))
    return _laid_on_grid(slices, along, shifts_mm, tuple(corrections))


def check_gantry_tilt(choice: str) -> None:
    """Check the option.

    Raises:
        ConfigError: if there is no such choice.
    """
    _check_option("gantry_tilt", choice, ("refuse", "correct"))


def _check_option(name: str, value: str, choices: tuple[str, str]) -> None:
    if value not in choices:
        raise ConfigError(f"{name} must be {choices[0]} or {choices[1]}, got {value!r}")


def plane_normal(header: SliceHeader) -> NDArray[np.float64]:
    """Normal (3,) of the plane of a slice, in LPS."""
    directions = np.asarray(header.orientation, dtype=np.float64).reshape(2, 3)
    return np.asarray(np.cross(directions[0], directions[1]))


def _require_same_grid(first: SliceHeader, other: SliceHeader) -> None:
    for what, one, two, tolerance in (
        ("rows and columns", (first.rows, first.columns), (other.rows, other.columns), 0.0),
        ("ImageOrientationPatient", first.orientation, other.orientation, 1e-4),
        ("PixelSpacing", first.pixel_spacing, other.pixel_spacing, 1e-5),
    ):
        if np.abs(np.subtract(one or (), two or ())).max() > tolerance:
            raise GeometryError(
                f"slices of a series must have the same {what}, got {one} in {first.name} and {two} in {other.name}"
            )


def _require_distinct(slices: list[SliceHeader], along: NDArray[np.float64]) -> None:
    distances = np.diff(along)
    least = max(1e-3, 0.01 * float(np.median(distances)))
    for (one, other), distance in zip(pairwise(slices), distances, strict=True):
        if distance < least:
            found = named_acquisitions(slices)
            remedy = f"the series holds the acquisitions {found}: choose one with --acquisition N" if found else ""
            raise GeometryError(f"{one.name} and {other.name} lie at the same position: {remedy or 'keep one of each'}")


def _spacing_fault(slices: list[SliceHeader], along: NDArray[np.float64], *, refused: bool) -> list[str]:
    """What is wrong with the spacing, in words; nothing if all is well."""
    distances = np.diff(along)
    usual = float(np.median(distances))
    even = np.linspace(along[0], along[-1], len(along))
    if np.abs(along - even).max() <= _MAX_SPACING_ERROR * usual:
        return []
    worst = int(np.argmax(np.abs(distances - usual)))
    fault = "slices are missing" if distances[worst] > 1.5 * usual else "slices are not equally spaced"
    if refused:
        raise GeometryError(
            f"{fault} between {slices[worst].name} and {slices[worst + 1].name}: {distances[worst]:.3f} mm "
            f"apart where {usual:.3f} mm is usual (slice_spacing 'resample' interpolates between them)"
        )
    return [f"{fault}: up to {distances[worst]:.3f} mm apart where {usual:.3f} mm is usual"]


def _tilt_fault(
    slices: list[SliceHeader], along: NDArray[np.float64], shifts_mm: NDArray[np.float64], *, refused: bool
) -> list[str]:
    """How slices are shifted in their plane, in words; nothing if they are not."""
    lengths = np.linalg.norm(shifts_mm, axis=1)
    worst = int(np.argmax(lengths - _MAX_SHIFT_SHARE * along))
    if lengths[worst] <= _MAX_SHIFT_MM + _MAX_SHIFT_SHARE * along[worst]:
        return []
    degrees = float(np.degrees(np.arctan2(np.linalg.norm(shifts_mm[-1]), along[-1])))
    if refused:
        raise GeometryError(
            f"{slices[worst].name} is shifted in its plane by {lengths[worst]:.2f} mm against the first slice, as "
            f"by a gantry tilted by {degrees:.1f} degrees{TILT_REMEDY}"
        )
    return [f"slices are shifted in their plane by up to {lengths[worst]:.2f} mm: gantry tilt of {degrees:.1f} degrees"]


def _laid_on_grid(
    slices: list[SliceHeader],
    along: NDArray[np.float64],
    shifts_mm: NDArray[np.float64],
    corrections: tuple[str, ...],
) -> Stack:
    """The smallest right-angled grid of equal steps that begins at the first slice's plane and holds all slices."""
    first = slices[0]
    row_mm, column_mm = first.pixel_spacing or (1.0, 1.0)
    directions = np.asarray(first.orientation, dtype=np.float64).reshape(2, 3)
    shifts = (shifts_mm @ directions.T / (column_mm, row_mm)).round(6)
    start = np.floor(shifts.min(axis=0))
    width, height = (np.asarray((first.columns, first.rows)) + np.ceil(shifts.max(axis=0)) - start).astype(int)
    steps = round(float(along[-1] / np.median(np.diff(along))))
    places = np.interp(np.linspace(0, along[-1], steps + 1), along, np.arange(len(along)))
    affine = _affine(first, along[-1] / steps)
    affine[:3, 3] += affine[:3, :2] @ start
    return Stack(slices, affine, Grid((int(width), int(height), steps + 1), shifts - start, places), corrections)


def _affine(first: SliceHeader, step_mm: float) -> NDArray[np.float64]:
    directions = np.asarray(first.orientation, dtype=np.float64).reshape(2, 3)
    row_spacing, column_spacing = first.pixel_spacing or (1.0, 1.0)
    affine = np.eye(4)
    affine[:3, 0] = directions[0] * column_spacing
    affine[:3, 1] = directions[1] * row_spacing
    affine[:3, 2] = plane_normal(first) * step_mm
    affine[:3, 3] = first.position or ()
    return checked_affine(LPS_TO_RAS @ affine)
