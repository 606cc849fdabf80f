"""Lists of nodule positions.

Two forms are read:

- a CSV with one row a nodule: three columns in mm, either ``x_ras_mm, y_ras_mm, z_ras_mm`` or ``x_lps_mm, y_lps_mm,
  z_lps_mm`` (DICOM's axes), and optionally ``nodule_id``, which is written to the results as it stands;
- the JSON that MONAI's bundle ``lung_nodule_ct_detection`` writes (:mod:`mose_med.io.nodules.boxes`): positions are the
  centres of its boxes, and a nodule's id is the number of its box in the file.
"""

from __future__ import annotations

import os
from collections.abc import Collection
from pathlib import Path
from typing import NamedTuple

from mose_med.errors import ConfigError, DataError
from mose_med.files.tables import Row, read_table
from mose_med.io.nodules.boxes import read_boxes
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
        DataError: if the file is missing, a CSV has no rows or not the columns, or a value does not fit. A JSON may
            have no box: nothing was found.
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
    known = [name for names in _COLUMNS.values() for name in names]
    table = read_table(source, "nodule list", DataError, known)
    axes = _axes(table.columns, source)
    return [_nodule(row, axes, source) for row in table.rows]


def _axes(columns: tuple[str, ...], source: Path) -> str:
    named = [axes for axes, names in _COLUMNS.items() if set(names) <= set(columns)]
    if len(named) != 1:
        choices = " or ".join(",".join(names) for names in _COLUMNS.values())
        raise DataError(f"nodule list {source} must have the columns {choices}, got {','.join(columns) or 'none'}")
    return named[0]


def _nodule(row: Row, axes: str, source: Path) -> Nodule:
    values = [row.number_in(column) for column in _COLUMNS[axes]]
    for column, value in zip(_COLUMNS[axes], values, strict=True):
        if value is None:
            raise DataError(
                f"nodule list {source}, line {row.line}, row {row.number}: {column} must be a number, "
                f"got {row.values.get(column)!r}"
            )
    x, y, z = (float(value or 0.0) for value in values)
    return Nodule(row.text("nodule_id") or str(row.number), _ras((x, y, z), axes))


def _ras(position_mm: tuple[float, float, float], axes: str) -> tuple[float, float, float]:
    x, y, z = position_mm
    return (-x, -y, z) if axes == "lps" else (x, y, z)
