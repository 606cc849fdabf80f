"""Classes of multimodal Cityscapes: void, the 19 that are evaluated, and the five that flips lead to."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from mose_med.data.class_flips import CITYSCAPES_FLIPS
from mose_med.errors import DataError

__all__ = ["CLASSES", "train_ids"]

#: Label id of the annotation files of every class that is evaluated, in the order of their training ids, from 1.
_LABEL_IDS = {
    "road": 7,
    "sidewalk": 8,
    "building": 11,
    "wall": 12,
    "fence": 13,
    "pole": 17,
    "traffic light": 19,
    "traffic sign": 20,
    "vegetation": 21,
    "terrain": 22,
    "sky": 23,
    "person": 24,
    "rider": 25,
    "car": 26,
    "truck": 27,
    "bus": 28,
    "train": 31,
    "motorcycle": 32,
    "bicycle": 33,
}
_NAMES = ("void", *_LABEL_IDS)
CLASSES = (*_NAMES, *(f"{_NAMES[flip.label]} flipped" for flip in CITYSCAPES_FLIPS))

#: Label ids that mean void: the rest up to 33, and the licence plate's -1 as eight bits hold it.
_VOID_IDS = [*(set(range(34)) - set(_LABEL_IDS.values())), 255]
_UNKNOWN = 254


def _table() -> NDArray[np.uint8]:
    table = np.full(256, _UNKNOWN, dtype=np.uint8)
    table[_VOID_IDS] = 0
    table[list(_LABEL_IDS.values())] = np.arange(1, len(_LABEL_IDS) + 1)
    return table


def train_ids(label_ids: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Classes 1 to 19, and 0 for void, of the label ids of annotation files.

    Raises:
        DataError: if a value is not a label id.

    Example:
        >>> train_ids(np.array([7, 33, 0, 255], dtype=np.uint8)).tolist()
        [1, 19, 0, 0]
    """
    classes = _table()[label_ids]
    if (classes == _UNKNOWN).any():
        raise DataError(f"label ids must be 0 to 33 or 255, got {label_ids[classes == _UNKNOWN][0]}")
    return classes
