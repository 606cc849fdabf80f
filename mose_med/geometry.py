"""Affines, spacing and orientation of image volumes, with numpy alone.

Conventions: arrays are indexed i, j, k; an affine is 4x4, maps voxel indices to millimetres, and is RAS (x grows
towards the patient's right, y to anterior, z to superior; DICOM's own LPS has x and y the other way). Voxel centres lie
at whole indices. An orientation such as ``"LPS"`` names where i, j and k point to, as nibabel's ``aff2axcodes`` does.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from mose_med.errors import GeometryError

__all__ = [
    "LPS_TO_RAS",
    "MIN_AXIAL_COSINE",
    "MIN_SLICES",
    "Reorientation",
    "axial_fault",
    "checked_affine",
    "corner_distance_mm",
    "crop_start",
    "grid_difference",
    "index_to_mm",
    "mm_to_index",
    "reorientation",
    "reorientation_onto",
    "spacing_mm",
    "translated",
    "window_overlap",
]

Affine = NDArray[np.float64]

LPS_TO_RAS: Affine = np.diag([-1.0, -1.0, 1.0, 1.0])
#: How far apart voxels of the same grid may be, as a share of the smallest spacing.
_SAME_VOXEL = 0.1
#: Least cosine between the normal of an axial slice and the patient's long axis: gantries tilt by up to 30 degrees.
MIN_AXIAL_COSINE = 0.85
#: Fewest slices of a volume.
MIN_SLICES = 3
#: Pixels of axial slices are squares; longer ones are the slices of another orientation.
_MOST_OBLONG = 1.25
_AXIS_LETTERS = (("L", "R"), ("P", "A"), ("I", "S"))


def checked_affine(affine: NDArray[np.floating]) -> Affine:
    """Return ``affine`` as float64 after checking that it is a finite, invertible 4x4 matrix.

    Raises:
        GeometryError: if it is not.
    """
    matrix = np.asarray(affine, dtype=np.float64)
    if matrix.shape != (4, 4):
        raise GeometryError(f"affine must be a 4x4 matrix, got shape {matrix.shape}")
    if not np.isfinite(matrix).all():
        raise GeometryError("affine must be finite, got NaN or infinite entries")
    if abs(np.linalg.det(matrix[:3, :3])) < 1e-9:
        raise GeometryError(f"affine must be invertible, got determinant {np.linalg.det(matrix[:3, :3]):.3g}")
    return matrix


def axial_fault(shape: tuple[int, ...], affine: NDArray[np.floating]) -> str:
    """What a volume (i, j, k) is instead of a stack of axial slices; empty if it is one, with axes in any order.

    Example:
        >>> axial_fault((64, 64, 20), np.diag([-0.7, -0.7, 2.5, 1.0]))
        ''
        >>> axial_fault((64, 20, 64), np.diag([-0.7, -5.0, 0.7, 1.0]))
        'the voxels of its axial slices are 0.7 x 5 mm, as in a coronal or sagittal series'
        >>> axial_fault((64, 64, 1), np.diag([-0.7, -0.7, 2.5, 1.0]))
        'it has 1 slice'
    """
    steps = reorientation(checked_affine(affine), "LPS")
    laid = steps.affine(affine, shape)
    column, row, _ = spacing_mm(laid)
    normal = np.cross(laid[:3, 0] / column, laid[:3, 1] / row)
    cosine = float(abs(normal[2]) / np.linalg.norm(normal))
    if cosine < MIN_AXIAL_COSINE:
        return f"its slices are {np.degrees(np.arccos(cosine)):.0f} degrees off the axial plane"
    if max(column, row) > _MOST_OBLONG * min(column, row):
        return f"the voxels of its axial slices are {column:.3g} x {row:.3g} mm, as in a coronal or sagittal series"
    slices = min(shape)
    return f"it has {slices} slice{'s' * (slices > 1)}" if slices < MIN_SLICES else ""


def spacing_mm(affine: NDArray[np.floating]) -> NDArray[np.float64]:
    """Voxel edge lengths along i, j, k in millimetres, shape ``(3,)``.

    Example:
        >>> spacing_mm(np.diag([-0.7, -0.7, 2.5, 1.0])).tolist()
        [0.7, 0.7, 2.5]
    """
    return np.asarray(np.sqrt(np.square(checked_affine(affine)[:3, :3]).sum(axis=0)))


def grid_difference(
    shape: tuple[int, ...],
    affine: NDArray[np.floating],
    other_shape: tuple[int, ...],
    other_affine: NDArray[np.floating],
    *,
    whose: str,
    tolerance_mm: float | None = None,
) -> str | None:
    """How a grid differs from another one, in words with numbers; None if their voxels are the same.

    Args:
        shape: of the grid, (i, j, k).
        affine: RAS mm, (4, 4).
        other_shape: of the other grid.
        other_affine: likewise.
        whose: of the other grid's values, "the image's" for instance.
        tolerance_mm: how far voxels of the same grid may be apart; a tenth of the smallest spacing if None.

    Example:
        >>> grid_difference((5, 5, 3), np.eye(4), (5, 5, 3), np.diag([1, 1, 2, 1]), whose="the image's")
        "its spacing is 1 x 1 x 1 mm, the image's 1 x 1 x 2 mm"
    """
    if tuple(shape) != tuple(other_shape):
        return f"its shape is {tuple(shape)}, {whose} {tuple(other_shape)}"
    apart = corner_distance_mm(affine, other_affine, shape)
    if apart <= (_SAME_VOXEL * spacing_mm(other_affine).min() if tolerance_mm is None else tolerance_mm):
        return None
    ours, theirs = spacing_mm(affine), spacing_mm(other_affine)
    if not np.allclose(ours, theirs, rtol=1e-3):
        return f"its spacing is {_lengths(ours)} mm, {whose} {_lengths(theirs)} mm"
    cosines = (affine[:3, :3] / ours * (other_affine[:3, :3] / theirs)).sum(axis=0)
    turned = np.degrees(np.arccos(np.clip(cosines.min(), -1, 1)))
    if turned > 0.1:
        return f"its axes are rotated by {turned:.1f} degrees"
    return f"it lies {apart:.3g} mm away"


def _lengths(values: NDArray[np.floating]) -> str:
    return " x ".join(f"{value:.4g}" for value in values)


def mm_to_index(affine: NDArray[np.floating], points_mm: NDArray[np.floating]) -> NDArray[np.float64]:
    """Continuous voxel indices of RAS points in millimetres, both of shape ``(..., 3)``."""
    return _apply(np.asarray(np.linalg.inv(checked_affine(affine)), dtype=np.float64), points_mm)


def index_to_mm(affine: NDArray[np.floating], indices: NDArray[np.floating]) -> NDArray[np.float64]:
    """RAS points in millimetres of (continuous) voxel indices, both of shape ``(..., 3)``."""
    return _apply(checked_affine(affine), indices)


def _apply(matrix: Affine, points: NDArray[np.floating]) -> NDArray[np.float64]:
    return np.asarray(np.asarray(points, dtype=np.float64) @ matrix[:3, :3].T + matrix[:3, 3])


def corner_distance_mm(one: NDArray[np.floating], other: NDArray[np.floating], shape: tuple[int, ...]) -> float:
    """Largest distance between the places that two affines give a voxel of a volume of ``shape``; a corner has it."""
    corners = np.asarray([[i, j, k] for i in (0, 1) for j in (0, 1) for k in (0, 1)]) * (np.asarray(shape[:3]) - 1)
    return float(np.linalg.norm(index_to_mm(one, corners) - index_to_mm(other, corners), axis=1).max())


def translated(affine: NDArray[np.floating], start: tuple[int, int, int]) -> Affine:
    """Affine of the sub-volume that begins at voxel ``start``, which may lie outside the volume."""
    result = checked_affine(affine).copy()
    result[:3, 3] = index_to_mm(affine, np.asarray(start, dtype=np.float64))
    return result


def crop_start(centre: NDArray[np.floating] | tuple[float, ...], size: tuple[int, ...]) -> tuple[int, ...]:
    """First index, per axis, of a window of ``size`` voxels around a continuous ``centre`` index.

    The voxel nearest to the centre (halves round up) lands on index ``size // 2`` of the window. Preparation and
    inference both place their windows with this function, so that the network is given the same crop by both.

    Example:
        >>> crop_start((100.4, 63.5), (128, 128))
        (36, 0)
    """
    return tuple(int(np.floor(c + 0.5)) - s // 2 for c, s in zip(centre, size, strict=True))


Slices = tuple[slice, ...]


def window_overlap(start: tuple[int, ...], size: tuple[int, ...], shape: tuple[int, ...]) -> tuple[Slices, Slices]:
    """The part of a window of ``size`` that lies in an image of ``shape``: as slices of the image and of the window.

    Example:
        >>> window_overlap((-1,), (3,), (5,))
        ((slice(0, 2, None),), (slice(1, 3, None),))
    """
    begin = [max(0, s) for s in start]
    end = [max(b, min(n, s + w)) for b, n, s, w in zip(begin, shape, start, size, strict=True)]
    source = tuple(slice(b, e) for b, e in zip(begin, end, strict=True))
    inside = tuple(slice(b - s, e - s) for b, e, s in zip(begin, end, start, strict=True))
    return source, inside


class Reorientation(NamedTuple):
    """Axis order and flips that take a volume from one orientation to another, losslessly.

    Attributes:
        axes: for each output axis, the input axis it is read from.
        flips: for each output axis, whether it runs against that input axis.
    """

    axes: tuple[int, int, int]
    flips: tuple[bool, bool, bool]

    def apply(self, array: NDArray[np.generic]) -> NDArray[np.generic]:
        """View of ``array`` (i, j, k, *rest) with its first three axes reordered and flipped; nothing is copied."""
        rest = tuple(range(3, array.ndim))
        steps = tuple(slice(None, None, -1) if flip else slice(None) for flip in self.flips)
        return array.transpose(*self.axes, *rest)[steps]

    def undo(self, array: NDArray[np.generic]) -> NDArray[np.generic]:
        """View of ``array`` taken back to the original orientation."""
        rest = tuple(range(3, array.ndim))
        steps = tuple(slice(None, None, -1) if flip else slice(None) for flip in self.flips)
        return array[steps].transpose(*np.argsort(self.axes).tolist(), *rest)

    def affine(self, affine: NDArray[np.floating], shape: tuple[int, ...]) -> Affine:
        """Affine of ``apply(array)`` where ``affine`` and ``shape`` are those of ``array``."""
        to_source = np.zeros((4, 4))
        to_source[3, 3] = 1.0
        for target, (source, flip) in enumerate(zip(self.axes, self.flips, strict=True)):
            to_source[source, target] = -1.0 if flip else 1.0
            to_source[source, 3] = shape[source] - 1 if flip else 0.0
        return checked_affine(affine) @ to_source


def reorientation(affine: NDArray[np.floating], orientation: str = "LPS") -> Reorientation:
    """Steps that turn a volume with this affine closest to ``orientation``.

    Each voxel axis is matched to the patient axis it is most parallel to; oblique volumes keep their obliqueness.

    Args:
        affine: RAS-mm affine of the volume, shape ``(4, 4)``.
        orientation: where i, j and k are to point: one letter each of L/R, P/A and I/S, in any order.

    Raises:
        GeometryError: if the affine or the orientation does not fit.

    Example:
        >>> reorientation(np.diag([1.0, 1.0, 1.0, 1.0]), "LPS")
        Reorientation(axes=(0, 1, 2), flips=(True, True, False))
    """
    directions = checked_affine(affine)[:3, :3] / spacing_mm(affine)
    patient_axis_of = _closest_axes(directions)
    axes, flips = [], []
    for letter in orientation:
        world = next((w for w, letters in enumerate(_AXIS_LETTERS) if letter in letters), None)
        if world is None or len(orientation) != 3:
            raise GeometryError(f"orientation must be three letters such as LPS, got {orientation!r}")
        axis = patient_axis_of.index(world)
        axes.append(axis)
        flips.append(bool(directions[world, axis] > 0) != (letter == _AXIS_LETTERS[world][1]))
    if len(set(axes)) != 3:
        raise GeometryError(f"orientation must name each patient axis once, got {orientation!r}")
    return Reorientation((axes[0], axes[1], axes[2]), (flips[0], flips[1], flips[2]))


def reorientation_onto(affine: NDArray[np.floating], target: NDArray[np.floating]) -> Reorientation:
    """Steps that turn the axes of a volume closest to those of another, even if both are oblique or sheared.

    Args:
        affine: RAS-mm affine of the volume, shape ``(4, 4)``.
        target: of the other.

    Example:
        >>> reorientation_onto(np.diag([-1.0, 1.0, 1.0, 1.0]), np.eye(4))
        Reorientation(axes=(0, 1, 2), flips=(True, False, False))
    """
    theirs = checked_affine(target)[:3, :3] / spacing_mm(target)
    directions = np.asarray(np.linalg.solve(theirs, checked_affine(affine)[:3, :3] / spacing_mm(affine)))
    target_axis_of = _closest_axes(directions)
    axes = [target_axis_of.index(axis) for axis in range(3)]
    flips = [bool(directions[axis, axes[axis]] < 0) for axis in range(3)]
    return Reorientation((axes[0], axes[1], axes[2]), (flips[0], flips[1], flips[2]))


def _closest_axes(directions: Affine) -> list[int]:
    """For each voxel axis the patient axis it is assigned to, largest cosine first."""
    remaining = np.abs(directions).copy()
    assigned = [0, 0, 0]
    for _ in range(3):
        world, axis = np.unravel_index(int(np.argmax(remaining)), (3, 3))
        assigned[int(axis)] = int(world)
        remaining[world, :] = -1.0
        remaining[:, axis] = -1.0
    return assigned
