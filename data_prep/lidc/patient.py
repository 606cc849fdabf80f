"""One patient of LIDC-IDRI: crops written as NIfTI, and a record of what was written.

A record is written last and at once, so that a patient who has one is done. Records are all that is kept of a patient:
a data set is put together from them, in any number of processes and after any number of interruptions.
"""

from __future__ import annotations

import functools
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from data_prep.datalist import NoduleRow, write_run
from data_prep.lidc.annotations import FEATURES, Annotation, Scan, read_scans
from data_prep.lidc.clustering import MAX_RATERS
from data_prep.lidc.collection import CropOptions, Fault, NoduleCrop, PatientFaults, crop_patient
from data_prep.rater_weights import Labels, MissingRaters, rater_weights

__all__ = ["RECORDS_NAME", "Patient", "PatientRecord", "PatientWriter", "read_record"]

#: Folder of the records, inside the output folder until it is whole.
RECORDS_NAME = ".patients"


@dataclass(frozen=True)
class Patient:
    """Who it is, where the files are, and which part of the split it belongs to."""

    patient_id: str
    folders: tuple[Path, ...]
    part: str


@dataclass
class PatientRecord:
    """What was written of a patient; the counts are of slices.

    Attributes:
        entries: of the datalist.
        nodules: lines of ``nodules.csv``.
    """

    is_phantom: bool = False
    num_padded: int = 0
    num_without_mask: int = 0
    num_negatives: int = 0
    entries: list[dict[str, Any]] = field(default_factory=list)
    nodules: list[NoduleRow] = field(default_factory=list)
    left_out: dict[str, int] = field(default_factory=dict)
    faults: list[Fault] = field(default_factory=list)


def read_record(output: Path, patient_id: str) -> PatientRecord | None:
    """The record of a patient below an output folder; None if the patient is not done."""
    path = output / RECORDS_NAME / f"{patient_id}.json"
    if not path.is_file():
        return None
    content = json.loads(path.read_text(encoding="utf-8"))
    content["nodules"] = [NoduleRow(*row) for row in content["nodules"]]
    content["faults"] = [Fault(*fault) for fault in content["faults"]]
    return PatientRecord(**content)


@dataclass(frozen=True)
class PatientWriter:
    """Writes patients into an output folder; called with one patient after the other, in any process.

    Attributes:
        output: folder of the datalist.
        crops: what to cut out.
        patient_ids: of all patients that will be written: their annotations are read together, once per process.
        missing_raters: what a rater who did not mark a nodule counts as.
        labels: all raters, or one drawn for every training slice.
    """

    output: Path
    crops: CropOptions
    patient_ids: tuple[str, ...]
    missing_raters: MissingRaters
    labels: Labels

    def __call__(self, patient: Patient) -> None:
        """Write a patient's crops, then the record.

        Raises:
            DataError: if the patient's files cannot be used; nothing of the patient stays.
        """
        record, met, written = PatientRecord(), PatientFaults(), list[Path]()
        try:
            scans = _scans_by_patient(self.patient_ids)[patient.patient_id]
            for crop in crop_patient(patient.folders, scans, self.crops, met):
                written += self._write_crop(crop, patient.part, record)
        except BaseException:
            for path in written:
                path.unlink()
            raise
        record.left_out, record.faults = dict(+met.left_out), met.faults
        self._write_record(record, patient.patient_id)

    def _write_record(self, record: PatientRecord, patient_id: str) -> None:
        path = self.output / RECORDS_NAME / f"{patient_id}.json"
        path.parent.mkdir(exist_ok=True)
        temporary = path.with_suffix(".tmp")
        temporary.write_text(json.dumps(asdict(record)), encoding="utf-8")
        temporary.replace(path)

    def _write_crop(self, crop: NoduleCrop, part: str, record: PatientRecord) -> list[Path]:
        nodule = crop.nodule
        written = []
        for run in crop.runs:
            name = nodule.nodule_id if run.number == 1 else f"{nodule.nodule_id}_run-{run.number}"
            paths = write_run(self.output, name, run.image_hu, run.masks, run.affine)
            written += [self.output / path for path in paths.values()]
            for index, (z_mm, present) in enumerate(zip(run.z_mm, run.raters_present, strict=True)):
                fixed = {**paths, "slice": index, "z_mm": z_mm, "raters_present": present, "padded": run.padded}
                record.entries.append(self._entry(crop, fixed, part))
            record.num_padded += run.padded * len(run.z_mm)
            if nodule.annotations:
                record.num_without_mask += int((~run.masks.any(axis=(0, 1, 3))).sum())
        record.is_phantom |= crop.is_phantom
        if nodule.annotations:
            record.nodules.append(_row(crop, part))
        else:
            record.num_negatives += crop.num_slices
        return written

    def _entry(self, crop: NoduleCrop, fixed: Mapping[str, Any], part: str) -> dict[str, Any]:
        nodule = crop.nodule
        weights = rater_weights(
            MAX_RATERS,
            len(nodule.annotations),
            missing=self.missing_raters,
            labels=self.labels if part == "training" else "all",
            key=f"{self.crops.seed}/{nodule.nodule_id}/{fixed['z_mm']}",
        )
        entry = {
            **fixed,
            "rater_weights": weights,
            "nodule_id": nodule.nodule_id,
            "patient_id": nodule.scan.patient_id,
            "series_uid": nodule.scan.series_uid,
        }
        return entry | ({"features": _features(nodule.annotations)} if nodule.annotations else {})


@functools.lru_cache(maxsize=1)
def _scans_by_patient(patient_ids: tuple[str, ...]) -> dict[str, list[Scan]]:
    """Scans of all patients: one pass over the database, which has no index, instead of one for every patient."""
    scans: dict[str, list[Scan]] = {patient_id: [] for patient_id in patient_ids}
    for scan in read_scans(patient_ids):
        scans[scan.patient_id].append(scan)
    return scans


def _features(annotations: Sequence[Annotation]) -> dict[str, list[int | None]]:
    """What every reader says of the nodule, in the order of the masks; None for readers that did not mark it."""
    missing: list[int | None] = [None] * (MAX_RATERS - len(annotations))
    return {name: [annotation.features.get(name) for annotation in annotations] + missing for name in FEATURES}


def _row(crop: NoduleCrop, part: str) -> NoduleRow:
    nodule = crop.nodule
    return NoduleRow(
        nodule.nodule_id,
        nodule.scan.patient_id,
        nodule.scan.series_uid,
        part,
        len(nodule.annotations),
        crop.num_slices,
        *(round(value, 4) for value in crop.centre_mm),
    )
