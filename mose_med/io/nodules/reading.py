"""Lists of nodule positions in any supported form.

- A CSV with one row per nodule: three columns in mm, either ``x_ras_mm, y_ras_mm, z_ras_mm`` or ``x_lps_mm, y_lps_mm,
  z_lps_mm`` (DICOM's axes), and optionally ``nodule_id``, which is written to the results unchanged.
- The JSON that MONAI's bundle ``lung_nodule_ct_detection`` writes (:mod:`mose_med.io.nodules.boxes`): positions are the
  centres of its boxes, and a nodule's id is the number of its box in the file.
- Point lists of 3D Slicer (:mod:`mose_med.io.nodules.fiducials`).
- Masks: a label map, a segmentation of 3D Slicer, the output folder of TotalSegmentator
  (:mod:`mose_med.io.nodules.label_maps`); DICOM SEG and RTSTRUCT (:mod:`mose_med.io.nodules.dicom_objects`).
  Of masks the positions alone are taken.
"""

from __future__ import annotations

import os
from collections.abc import Collection
from pathlib import Path

from mose_med.case_contents.lesion_rules import MIN_SCORE
from mose_med.errors import ConfigError, DataError
from mose_med.files.dicom_signature import HEAD_BYTES, begins_as_dicom
from mose_med.files.tables import Row, read_json, read_table
from mose_med.io.dicom.objects.object_files import require_drawn_on
from mose_med.io.nifti.transforms import NiftiTransform
from mose_med.io.nodules.boxes import read_boxes
from mose_med.io.nodules.dicom_objects import object_nodules
from mose_med.io.nodules.fiducials import FCSV_SUFFIX, is_markups, markups_nodules, read_fcsv
from mose_med.io.nodules.label_maps import folder_nodules, label_map_nodules
from mose_med.io.nodules.nodule import Nodule, in_ras
from mose_med.io.study import Source
from mose_med.io.volumes import is_volume

__all__ = ["Nodule", "read_nodules", "require_own_series"]

_COLUMNS = {axes: tuple(f"{letter}_{axes}_mm" for letter in "xyz") for axes in ("ras", "lps")}


def read_nodules(
    path: str | os.PathLike[str],
    *,
    min_score: float = MIN_SCORE,
    images: Collection[str] = (),
    nifti_transform: NiftiTransform = "auto",
) -> list[Nodule]:
    """Read a nodule list; rows of a CSV without ``nodule_id`` are numbered from 1.

    Args:
        path: a CSV, or another form by its name or content; see the module.
        min_score: least score of a box of a JSON.
        images: names that the image may have in a JSON of several images.
        nifti_transform: of NIfTI masks, which of their transforms to take, as for :func:`~mose_med.io.read_ct`.

    Raises:
        ConfigError: if ``min_score`` is not in [0, 1], or there is no such transform.
        DataError: if the file is missing, a CSV has no rows or not the columns, or a value does not fit. Boxes and
            masks may have nothing: nothing was found.
        GeometryError: if the affine of a mask is not invertible, or its header does not say where it lies.
    """
    source = Path(path)
    if not 0 <= min_score <= 1:
        raise ConfigError(f"min_score must be from 0 to 1, got {min_score}")
    if not source.exists():
        raise DataError(f"nodule list {source} does not exist")
    nodules = _read(source, min_score, images, nifti_transform)
    ids = [nodule.nodule_id for nodule in nodules]
    twice = next((name for name in ids if ids.count(name) > 1), None)
    if twice is not None:
        raise DataError(f"nodule list {source} must name each nodule once, got {twice!r} twice")
    return nodules


def require_own_series(path: str | os.PathLike[str], source: Source) -> None:
    """Check that a nodule list that is a DICOM object was drawn on the series that is read, or in its coordinates.

    Raises:
        DataError: if it was drawn on another one.
    """
    if _is_object(Path(path)):
        require_drawn_on(Path(path), "nodule list", source.series_uid, source.frame_of_reference)


def _is_object(path: Path) -> bool:
    """Whether a nodule list is a DICOM object."""
    if not path.is_file() or path.name.lower().endswith((".csv", ".json", FCSV_SUFFIX)) or is_volume(path):
        return False
    with path.open("rb") as file:
        return begins_as_dicom(file.read(HEAD_BYTES))


def _read(source: Path, min_score: float, images: Collection[str], transform: NiftiTransform) -> list[Nodule]:
    suffix = source.suffix.lower()
    if source.is_dir():
        return folder_nodules(source, transform)
    if is_volume(source):
        return label_map_nodules(source, transform)
    if suffix == ".json":
        return _read_json(source, min_score, images)
    if suffix == FCSV_SUFFIX:
        return read_fcsv(source)
    if _is_object(source):
        return object_nodules(source)
    nodules = _read_csv(source)
    if not nodules:
        raise DataError(f"nodule list {source} has no rows: give at least one position")
    return nodules


def _read_json(source: Path, min_score: float, images: Collection[str]) -> list[Nodule]:
    content = read_json(source, "nodule list", DataError)
    if is_markups(content):
        return markups_nodules(source, content)
    boxes = read_boxes(source, content, min_score, images)
    return [Nodule(str(box.number), in_ras(box.centre_mm, "lps", "a box")) for box in boxes]


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
    return Nodule(row.text("nodule_id") or str(row.number), in_ras((x, y, z), axes, "axes"))
