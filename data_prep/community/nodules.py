"""A nodule of a community file, as both readers return it, and its conversion to the volumes of a datalist."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from mose_med.errors import DataError
from mose_med.geometry import Affine

__all__ = [
    "CITATION",
    "NUM_RATERS",
    "BrokenNodule",
    "CommunityNodule",
    "CommunitySlice",
    "SliceStack",
    "file_name",
    "slice_stacks",
]

CITATION = (
    "Slices of LIDC-IDRI: Armato et al. 2011, The Cancer Imaging Archive, CC BY 3.0, as circulated with the "
    "probabilistic U-Net; intensities in [0, 1], not HU."
)
NUM_RATERS = 4


class CommunitySlice(NamedTuple):
    """One slice, its arrays not yet read.

    Attributes:
        key: names the slice in the file.
        number: its place in the nodule.
        read: gives image (row, col) and masks (R, row, col) as the file has them.
    """

    key: str
    number: int
    read: Callable[[], tuple[ArrayLike, ArrayLike]]


class CommunityNodule(NamedTuple):
    """Slices that belong together, by ascending number.

    Attributes:
        nodule_id: unique in the file.
        series_uid: of the CT series; patients are not named.
        part: training, validation or test, where the file says it.
        spacing_mm: of rows and of columns, where the file says it.
        slices: at least one.
    """

    nodule_id: str
    series_uid: str
    part: str | None
    spacing_mm: tuple[float, float] | None
    slices: tuple[CommunitySlice, ...]


class BrokenNodule(NamedTuple):
    """A nodule that cannot be used, and why."""

    nodule_id: str
    error: DataError


class SliceStack(NamedTuple):
    """Consecutive slices of a nodule.

    Attributes:
        name: of its files.
        image: intensities in [0, 1], (i, j, k).
        masks: (i, j, k, R) of 0 and 1.
        affine: in-plane spacing; place and slice spacing are not known, and are 0 and 1 mm.
        raters_present: raters who outlined the nodule, for every slice.
    """

    name: str
    image: NDArray[np.float32]
    masks: NDArray[np.uint8]
    affine: Affine
    raters_present: tuple[int, ...]


def slice_stacks(nodule: CommunityNodule, *, undo_mask_offset: bool = False) -> Iterator[SliceStack]:
    """Stacks of consecutive slices of a nodule; a number that is missing begins another stack.

    Args:
        nodule: whose slices are read.
        undo_mask_offset: move the masks by (1, 1), since in ``data_lidc.pickle`` they sit one pixel off (-1, -1).

    Raises:
        DataError: if an array has the wrong shape or values.
    """
    row_mm, col_mm = nodule.spacing_mm or (1.0, 1.0)
    affine = np.diag([-col_mm, -row_mm, 1.0, 1.0])
    for number, run in enumerate(_consecutive(nodule.slices), start=1):
        pairs = [_checked(piece, undo_mask_offset) for piece in run]
        if len({image.shape for image, _ in pairs}) > 1:
            raise DataError(f"{nodule.nodule_id} has slices of different sizes")
        masks = np.stack([mask.transpose(2, 1, 0) for _, mask in pairs], axis=2)
        name = file_name(nodule.nodule_id)
        yield SliceStack(
            name=name if number == 1 else f"{name}_run-{number}",
            image=np.stack([image.T for image, _ in pairs], axis=2),
            masks=masks,
            affine=affine,
            raters_present=tuple(int(n) for n in masks.any(axis=(0, 1)).sum(axis=1)),
        )


def file_name(nodule_id: str) -> str:
    """Name without the characters that mean something in a path.

    Example:
        >>> file_name("../0012_2")
        '.._0012_2'
    """
    return re.sub(r"[^A-Za-z0-9._-]", "_", nodule_id)


def _consecutive(slices: Sequence[CommunitySlice]) -> list[list[CommunitySlice]]:
    runs: list[list[CommunitySlice]] = []
    for piece in slices:
        if runs and piece.number == runs[-1][-1].number + 1:
            runs[-1].append(piece)
        else:
            runs.append([piece])
    return runs


def _checked(piece: CommunitySlice, undo_mask_offset: bool) -> tuple[NDArray[np.float32], NDArray[np.uint8]]:
    stored_image, stored_masks = piece.read()
    image, masks = _numbers(stored_image, piece.key, "image"), _numbers(stored_masks, piece.key, "masks")
    if image.ndim != 2 or 0 in image.shape:
        raise DataError(f"{piece.key}: image must be (row, col), got shape {image.shape}")
    if masks.shape != (NUM_RATERS, *image.shape):
        raise DataError(f"{piece.key}: masks must be {NUM_RATERS} of {image.shape}, got shape {masks.shape}")
    if not (np.isfinite(image).all() and image.min() >= 0 and image.max() <= 1):
        raise DataError(f"{piece.key}: image must be in [0, 1], got {image.min():g} to {image.max():g}")
    if not np.isin(masks, (0, 1)).all():
        raise DataError(f"{piece.key}: masks must hold 0 and 1, got {masks.min():g} to {masks.max():g}")
    binary = masks.astype(np.uint8)
    return image.astype(np.float32), _moved(binary) if undo_mask_offset else binary


def _numbers(stored: ArrayLike, key: str, what: str) -> NDArray[Any]:
    try:
        array = np.asarray(stored)
    except ValueError as error:
        raise DataError(f"{key}: {what} differ in shape") from error
    if array.dtype.kind not in "biuf":
        raise DataError(f"{key}: {what} must hold numbers, got {array.dtype}")
    return array


def _moved(masks: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Masks (R, row, col) moved by one row and one column."""
    moved = np.zeros_like(masks)
    moved[:, 1:, 1:] = masks[:, :-1, :-1]
    return moved
