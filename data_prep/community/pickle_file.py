"""Nodules of ``data_lidc.pickle``: a dictionary of slices, named ``<nodule>_slice<number>``.

A slice is a dictionary of ``image`` (row, col), ``masks`` (four of them), ``series_uid`` and ``pixel_spacing``.
"""

from __future__ import annotations

import math
import re
from collections import defaultdict
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from data_prep.community.nodules import BrokenNodule, CommunityNodule, CommunitySlice
from data_prep.community.restricted_pickle import StoredArray, StoredValues, read_pickle
from mose_med.errors import DataError

__all__ = ["read_pickle_nodules"]

_KEY = re.compile(r"(?P<nodule>.+)_slice(?P<number>\d+)")


def read_pickle_nodules(path: Path) -> Iterator[CommunityNodule | BrokenNodule]:
    """Nodules of the file, in the order of their ids; a nodule that cannot be used says why.

    Args:
        path: of the pickle.

    Raises:
        DataError: if the file is damaged, holds something else or is refused.
    """
    content = read_pickle(path)
    if not isinstance(content, dict) or not content:
        raise DataError(f"{path} must hold a dictionary of slices, got {type(content).__name__}")
    slices: defaultdict[str, dict[int, str]] = defaultdict(dict)
    for key in content:
        match = _KEY.fullmatch(str(key))
        nodule, number = (match["nodule"], int(match["number"])) if match else (str(key), 0)
        slices[nodule][number] = key if isinstance(key, str) else ""
    for nodule in sorted(slices):
        try:
            yield _nodule(nodule, {number: (key, content.get(key)) for number, key in sorted(slices[nodule].items())})
        except DataError as error:
            yield BrokenNodule(nodule, error)


def _nodule(nodule_id: str, slices: Mapping[int, tuple[str, object]]) -> CommunityNodule:
    entries = {key: _entry(key, value) for key, value in slices.values()}
    uids = {str(entry["series_uid"]) for entry in entries.values()}
    spacings = {_spacing(key, entry.get("pixel_spacing")) for key, entry in entries.items()}
    if len(uids) > 1 or not all(uids):
        raise DataError(f"{nodule_id}: slices must be of one series, got {len(uids)}")
    if len(spacings) > 1:
        raise DataError(f"{nodule_id}: slices must have one pixel spacing, got {len(spacings)}")
    return CommunityNodule(
        nodule_id=nodule_id,
        series_uid=uids.pop(),
        part=None,
        spacing_mm=spacings.pop(),
        slices=tuple(CommunitySlice(key, number, _reader(entries[key])) for number, (key, _) in slices.items()),
    )


def _entry(key: str, value: object) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise DataError(f"{key or 'a key that is not text'} must be a dictionary, got {type(value).__name__}")
    for name in ("image", "masks", "series_uid"):
        if name not in value:
            raise DataError(f"{key} has no {name}")
    return value


def _reader(entry: Mapping[str, Any]) -> Any:
    def read() -> tuple[Any, Any]:
        masks = entry["masks"]
        return _array(entry["image"]), [_array(m) for m in masks] if isinstance(masks, list | tuple) else _array(masks)

    return read


def _array(stored: Any) -> Any:
    return stored.read() if isinstance(stored, StoredArray) else stored


def _spacing(key: str, stored: Any) -> tuple[float, float] | None:
    if stored is None:
        return None
    values: Any = stored.values if isinstance(stored, StoredValues) else _array(stored)
    try:
        numbers = [float(value) for value in values] if hasattr(values, "__len__") else [float(values)] * 2
    except (TypeError, ValueError):
        numbers = []
    if len(numbers) != 2 or not all(math.isfinite(mm) and mm > 0 for mm in numbers):
        raise DataError(f"{key}: pixel_spacing must be two lengths > 0 mm, got {str(values)[:40]}")
    return numbers[0], numbers[1]
