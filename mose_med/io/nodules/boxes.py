"""Boxes found by MONAI's bundle ``lung_nodule_ct_detection``, as positions.

Its inference writes one JSON list with an entry an image::

    [{"box": [[x, y, z, width, height, depth], ..], "label": [0, ..], "label_scores": [0.98, ..], "image": ".."}, ..]

Boxes are in mode ``cccwhd`` (centre and size) in mm. The bundle turns voxels to world coordinates by
``AffineBoxToWorldCoordinated(affine_lps_to_ras=True)`` on an affine that is RAS, so the coordinates are DICOM's and
ITK's LPS, as LUNA16's own are.
"""

from __future__ import annotations

import logging
from collections.abc import Collection
from pathlib import Path, PureWindowsPath
from typing import Any, NamedTuple

import numpy as np

from mose_med.case_contents.lesion_rules import MIN_SCORE
from mose_med.errors import DataError

__all__ = ["Box", "image_name", "read_boxes"]

_LOGGER = logging.getLogger(__name__)
_SIZE = 6


class Box(NamedTuple):
    """Place of a box in its entry, from 1, and its centre in LPS mm."""

    number: int
    centre_mm: tuple[float, float, float]


def image_name(path: str) -> str:
    r"""Name of an image without folders and ending, by which an entry is found.

    Example:
        >>> image_name("subset0/1.3.6.1.nii.gz"), image_name(r"D:\data\case 7.MHD")
        ('1.3.6.1', 'case 7')
    """
    # Windows knows both kinds of separators.
    name = PureWindowsPath(path).name
    for ending in (".gz", ".nii", ".nrrd", ".nhdr", ".mha", ".mhd", ".zip"):
        if name.lower().endswith(ending):
            name = name[: -len(ending)]
    return name


def read_boxes(path: Path, content: Any, min_score: float = MIN_SCORE, images: Collection[str] = ()) -> list[Box]:
    """Boxes of one image; none where nothing was found.

    Args:
        path: JSON file.
        content: of the file.
        min_score: least score of the boxes to return.
        images: names of the image, see :func:`image_name`; needed where the file has more than one entry.

    Raises:
        DataError: if the file is not of the form above, does not have one entry of the image, or none of its boxes has
            the score.
    """
    entries = content if isinstance(content, list) else [content]
    for number, entry in enumerate(entries, start=1):
        if not isinstance(entry, dict) or "box" not in entry:
            raise DataError(
                f"nodule list {path}, entry {number}: box is missing; the form is that of MONAI's "
                'lung_nodule_ct_detection, [{"box": [[x, y, z, w, h, d]], "label_scores": [..], "image": ".."}]'
            )
    return _of_score(path, *_chosen(path, entries, images), min_score)


def _chosen(path: Path, entries: list[dict[str, Any]], images: Collection[str]) -> tuple[int, dict[str, Any]]:
    """The entry of the image, and its number."""
    if len(entries) == 1:
        return 1, entries[0]
    named = [image_name(str(entry.get("image", ""))) for entry in entries]
    found = [number for number, name in enumerate(named, start=1) if name and name in images]
    if len(found) != 1:
        wanted = " or ".join(images) or "the input"
        raise DataError(
            f"nodule list {path} must have one entry whose image is named {wanted}, got {len(found)} of {len(entries)}"
        )
    return found[0], entries[found[0] - 1]


def _of_score(path: Path, number: int, entry: dict[str, Any], min_score: float) -> list[Box]:
    where = f"nodule list {path}, entry {number}"
    rows = entry["box"]
    if not isinstance(rows, list):
        raise DataError(f"{where}: box must be a list of boxes, got {type(rows).__name__}")
    scores = entry.get("label_scores")
    if scores is not None and (not isinstance(scores, list) or len(scores) != len(rows)):
        got = len(scores) if isinstance(scores, list) else type(scores).__name__
        raise DataError(f"{where}: label_scores must have one score for each of the {len(rows)} boxes, got {got}")
    boxes = [Box(index, _centre(row, f"{where}, box {index}")) for index, row in enumerate(rows, start=1)]
    if scores is None:
        return boxes
    values = [_number(score, f"{where}, box {box.number}: its score") for box, score in zip(boxes, scores, strict=True)]
    kept = [box for box, score in zip(boxes, values, strict=True) if score >= min_score]
    _LOGGER.info("%d of %d boxes have a score of at least %g", len(kept), len(boxes), min_score)
    if boxes and not kept:
        highest = f"the highest is {max(values):.3g}"
        raise DataError(f"{where}: no box has a score of at least {min_score:g}, {highest}: lower --min-score")
    return kept


def _centre(row: Any, where: str) -> tuple[float, float, float]:
    if not isinstance(row, list) or len(row) != _SIZE:
        got = f"{len(row)} numbers" if isinstance(row, list) else type(row).__name__
        raise DataError(f"{where} must be six numbers (x, y, z, width, height, depth), got {got}")
    x, y, z, *size = (_number(value, f"{where}: each value") for value in row)
    if min(size) < 0:
        raise DataError(f"{where} must have a width, height and depth >= 0, got {size}")
    return x, y, z


def _number(value: Any, what: str) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not np.isfinite(value):
        raise DataError(f"{what} must be a number, got {value!r}")
    return float(value)
