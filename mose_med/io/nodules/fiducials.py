"""Point lists of 3D Slicer: ``.mrk.json``, and ``.fcsv`` of all its versions.

Markups in JSON are in LPS unless they say RAS. An ``.fcsv`` says its axes in the header, by name or by number (0 is
RAS, 1 is LPS); one that does not is in RAS, as old versions wrote it. Points that were not placed are left out.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mose_med.errors import DataError
from mose_med.files.tables import Row, read_rows
from mose_med.io.nodules.nodule import Nodule, distinct_names, in_ras

__all__ = ["FCSV_SUFFIX", "is_markups", "markups_nodules", "read_fcsv"]

_LOGGER = logging.getLogger(__name__)

FCSV_SUFFIX = ".fcsv"
_DEFINED = "defined"
#: Types of markups whose points are places, by all the names that versions have for them.
_POINT_LISTS = ("Fiducial", "PointList")
_UNITS = ("mm", "[mm]", "")
_HEADER = re.compile(r"#\s*(coordinatesystem|columns)\s*=\s*(.*)", re.IGNORECASE)
_NUMBERED_AXES = {"0": "ras", "1": "lps", "2": "ijk"}
_COLUMNS = "id,x,y,z,ow,ox,oy,oz,vis,sel,lock,label,desc,associatednodeid"
#: Beyond the columns that the header names, and its value for a point that was placed.
_STATUS_COLUMN, _PLACED = "14", "2"


def is_markups(content: Any) -> bool:
    """Whether the content of a JSON file is of 3D Slicer's markups."""
    return isinstance(content, dict) and "markups" in content


def markups_nodules(path: Path, content: Mapping[str, Any]) -> list[Nodule]:
    """Points of the point lists of a ``.mrk.json``; other markups in it are skipped with a warning.

    Raises:
        DataError: if the file has no point list, no placed point, or a value does not fit.
    """
    markups = content["markups"]
    if not isinstance(markups, list) or not all(isinstance(one, dict) for one in markups):
        raise DataError(f"nodule list {path}: markups must be a list of objects")
    lists = [markup for markup in markups if markup.get("type") in _POINT_LISTS]
    others = sorted({str(markup.get("type")) for markup in markups if markup not in lists})
    if not lists:
        raise DataError(f"nodule list {path} must have a point list, got {', '.join(others) or 'no markup'}")
    if others:
        _LOGGER.warning("markups that are not point lists are left out: %s", ", ".join(others))
    points = [point for markup in lists for point in _points(path, markup)]
    return _placed(path, points)


def read_fcsv(path: Path) -> list[Nodule]:
    """Points of an ``.fcsv``.

    Raises:
        DataError: if the file has no placed point or a value does not fit.
    """
    rows = read_rows(path, "nodule list", DataError)
    header_values = {"coordinatesystem": "ras", "columns": _COLUMNS}
    for row in rows:
        header = _HEADER.fullmatch(",".join(row.values.values()))
        if header:
            header_values[header[1].lower()] = header[2].lower()
    columns = [name.strip() for name in header_values["columns"].split(",")]
    axes = _NUMBERED_AXES.get(header_values["coordinatesystem"], header_values["coordinatesystem"])
    points = [_point_of_row(path, row, columns, axes) for row in rows if not row.text("0").startswith("#")]
    return _placed(path, points)


#: Name, position in RAS mm, and whether it was placed.
_Point = tuple[str, tuple[float, float, float], bool]


def _placed(path: Path, points: list[_Point]) -> list[Nodule]:
    left_out = sum(not placed for _, _, placed in points)
    if left_out == len(points):
        raise DataError(f"nodule list {path} has no placed point, got {left_out} that are not: place at least one")
    if left_out:
        _LOGGER.warning("%d of %d points of the nodule list were not placed: they are left out", left_out, len(points))
    kept = [(name, place) for name, place, placed in points if placed]
    names = distinct_names(name for name, _ in kept)
    return [Nodule(name, place) for name, (_, place) in zip(names, kept, strict=True)]


def _points(path: Path, markup: Mapping[str, Any]) -> list[_Point]:
    where = f"nodule list {path}"
    axes = str(markup.get("coordinateSystem", "LPS")).lower()
    axes = _NUMBERED_AXES.get(axes, axes)
    units = markup.get("coordinateUnits", "mm")
    if (units[0] if isinstance(units, list) and units else units) not in _UNITS:
        raise DataError(f"{where}: coordinateUnits must be mm, got {units!r}")
    points = markup.get("controlPoints", [])
    if not isinstance(points, list) or not all(isinstance(point, dict) for point in points):
        raise DataError(f"{where}: controlPoints must be a list of objects")
    return [_point(point, axes, f"{where}, point {number}") for number, point in enumerate(points, start=1)]


def _point(point: Mapping[str, Any], axes: str, where: str) -> _Point:
    name = str(point.get("label") or point.get("id") or "")
    if point.get("positionStatus", _DEFINED) != _DEFINED:
        return name, (0.0, 0.0, 0.0), False
    position = point.get("position")
    if not isinstance(position, list) or len(position) != 3 or not all(_is_number(value) for value in position):
        raise DataError(f"{where}: position must be three numbers, got {position!r}")
    return name, in_ras(position, axes, f"{where}: coordinateSystem"), True


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < float("inf")


def _point_of_row(path: Path, row: Row, columns: list[str], axes: str) -> _Point:
    where = f"nodule list {path}, line {row.line}"
    place = {name: str(number) for number, name in enumerate(columns)}
    name = row.text(place.get("label", "")) or row.text(place.get("id", ""))
    if len(columns) == int(_STATUS_COLUMN) and row.text(_STATUS_COLUMN) not in ("", _PLACED):
        return name, (0.0, 0.0, 0.0), False
    values = [row.number_in(place.get(axis, "")) for axis in "xyz"]
    for axis, value in zip("xyz", values, strict=True):
        if value is None:
            raise DataError(f"{where}: {axis} must be a number, got {row.text(place.get(axis, ''))!r}")
    position = [value for value in values if value is not None]
    return name, in_ras(position, axes, f"nodule list {path}: CoordinateSystem"), True
