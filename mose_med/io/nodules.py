"""Lists of nodule positions.

Two forms are read:

- a CSV with one row a nodule: three columns in mm, either ``x_ras_mm, y_ras_mm, z_ras_mm`` or ``x_lps_mm, y_lps_mm,
  z_lps_mm`` (DICOM's axes), and optionally ``nodule_id``, which is written to the results as it stands;
- the JSON that MONAI's bundle ``lung_nodule_ct_detection`` writes (:mod:`mose_med.io.nodule_boxes`): positions are the
  centres of its boxes, and a nodule's id is the number of its box in the file.
"""

from __future__ import annotations

import csv
import os
from collections.abc import Collection
from pathlib import Path
from typing import NamedTuple

import numpy as np

from mose_med.errors import ConfigError, DataError
from mose_med.io.nodule_boxes import read_boxes
from mose_med.lesion_rules import MIN_SCORE

__all__ = ["Nodule", "read_nodules"]

_COLUMNS = {axes: tuple(f"{letter}_{axes}_mm" for letter in "xyz") for axes in ("ras", "lps")}


class Nodule(NamedTuple):
    """A position to look at, in RAS mm."""

    nodule_id: str
    position_mm: tuple[float, float, float]


def read_nodules(
    path: str | os.PathLike[str], *, min_score: float = MIN_SCORE, images: Collection[str] = ()
) -> list[Nodule]:
    """Read a nodule list; rows of a CSV without ``nodule_id`` are numbered from 1.

    Args:
        path: a CSV, or a JSON by its name.
        min_score: least score of a box of a JSON.
        images: names that the image may have in a JSON of several images.

    Raises:
        ConfigError: if ``min_score`` is not in [0, 1].
        DataError: if the file is missing, has no rows or not the columns, or a value does not fit.
    """
    source = Path(path)
    if not 0 <= min_score <= 1:
        raise ConfigError(f"min_score must be from 0 to 1, got {min_score}")
    if not source.is_file():
        raise DataError(f"nodule list {source} does not exist")
    if source.suffix.lower() == ".json":
        boxes = read_boxes(source, min_score, images)
        nodules = [Nodule(str(box.number), _ras(box.centre_mm, "lps")) for box in boxes]
    else:
        nodules = _read_csv(source)
    if not nodules:
        raise DataError(f"nodule list {source} has no rows: give at least one position")
    ids = [nodule.nodule_id for nodule in nodules]
    twice = next((name for name in ids if ids.count(name) > 1), None)
    if twice is not None:
        raise DataError(f"nodule list {source} must name each nodule once, got {twice!r} twice")
    return nodules


def _read_csv(source: Path) -> list[Nodule]:
    try:
        with source.open(encoding="utf-8-sig", newline="") as stream:
            reader = csv.DictReader(stream, skipinitialspace=True)
            columns = [name.strip().lower() for name in reader.fieldnames or []]
            reader.fieldnames = columns
            axes = _axes(columns, source)
            return [_nodule(row, axes, number, source) for number, row in enumerate(reader, start=1)]
    except (UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"nodule list {source} is not a CSV file: {error}") from error


def _axes(columns: list[str], source: Path) -> str:
    named = [axes for axes, names in _COLUMNS.items() if set(names) <= set(columns)]
    if len(named) != 1:
        choices = " or ".join(",".join(names) for names in _COLUMNS.values())
        raise DataError(f"nodule list {source} must have the columns {choices}, got {','.join(columns) or 'none'}")
    return named[0]


def _nodule(row: dict[str, str], axes: str, number: int, source: Path) -> Nodule:
    values = []
    for column in _COLUMNS[axes]:
        try:
            value = float(row[column])
        except (TypeError, ValueError):
            value = np.nan
        if not np.isfinite(value):
            raise DataError(f"nodule list {source}, row {number}: {column} must be a number, got {row[column]!r}")
        values.append(value)
    x, y, z = values
    return Nodule((row.get("nodule_id") or "").strip() or str(number), _ras((x, y, z), axes))


def _ras(position_mm: tuple[float, float, float], axes: str) -> tuple[float, float, float]:
    x, y, z = position_mm
    return (-x, -y, z) if axes == "lps" else (x, y, z)
