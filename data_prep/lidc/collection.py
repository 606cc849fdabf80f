"""A LIDC-IDRI copy on disk: its patients, and the crops of all their nodules."""

from __future__ import annotations

import functools
import logging
from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

import numpy as np

from data_prep.crop_options import CropOptions
from data_prep.lidc.annotations import Scan, patient_ids, patient_of_uid
from data_prep.lidc.negatives import crop_negatives
from data_prep.lidc.nodules import Nodule, NoduleRun, crop_runs, find_nodules
from data_prep.lidc.series import Series, find_series
from mose_med.errors import ConfigError, DataError
from mose_med.geometry import index_to_mm

__all__ = ["CITATION", "CropOptions", "Fault", "NoduleCrop", "PatientFaults", "crop_patient", "find_patients"]

CITATION = (
    "LIDC-IDRI: Armato et al., The Lung Image Database Consortium (LIDC) and Image Database Resource Initiative "
    "(IDRI), Medical Physics 38 (2011); The Cancer Imaging Archive, doi:10.7937/K9/TCIA.2015.LO9QL9SX, CC BY 3.0."
)

logger = logging.getLogger(__name__)

#: Slices of a series kept in memory, for nodules that lie at the same height.
_CACHED_SLICES = 64
#: How far below the root a patient's folder is looked for: download folder, collection, patient.
_DEPTH = 3


@dataclass(frozen=True)
class NoduleCrop:
    """All that is cut out of one nodule, or one slice without any (a nodule without annotations)."""

    nodule: Nodule
    is_phantom: bool
    runs: tuple[NoduleRun, ...]

    @property
    def num_slices(self) -> int:
        """Slices of all runs."""
        return sum(len(run.z_mm) for run in self.runs)

    @property
    def centre_mm(self) -> tuple[float, float, float]:
        """Centre voxel of the window on the middle slice, in RAS millimetres."""
        first = self.runs[0]
        width, height = first.image_hu.shape[:2]
        x_mm, y_mm, _ = index_to_mm(first.affine, np.array([width // 2, height // 2, 0.0]))
        positions = [z_mm for run in self.runs for z_mm in run.z_mm]
        return float(x_mm), float(y_mm), positions[len(positions) // 2]


class Fault(NamedTuple):
    """Something of a scan that did not fit and was worked around."""

    patient_id: str
    series_uid: str
    fault: str
    detail: str


@dataclass
class PatientFaults:
    """Faults found while a patient was cut out.

    Attributes:
        left_out: counts, by reason, of what is not handed out.
        faults: what was worked around, in the order met.
    """

    left_out: Counter[str] = field(default_factory=Counter)
    faults: list[Fault] = field(default_factory=list)

    def add(self, scan: Scan, fault: str, number: int, detail: str) -> None:
        """Count ``number`` of a kind of fault, if there are any, and note them."""
        self.left_out[fault] += number
        if number:
            self.faults.append(Fault(scan.patient_id, scan.series_uid, fault, detail))


def find_patients(lidc_root: Path) -> dict[str, tuple[Path, ...]]:
    """Folders of every patient of the database below a LIDC-IDRI copy, sorted by patient id.

    A patient's folder is one named by the patient's id or, in flat downloads, by the UID of one of the patient's
    studies or series (with a prefix such as ``CT_``). It may lie below the download's own folders. Of a folder and the
    links to it the first by name counts.

    Raises:
        ConfigError: if the root is missing, has no folder of such a patient, or has a link for one that leads nowhere.
    """
    if not lidc_root.is_dir():
        unpacked = "unpack it, and " if lidc_root.is_file() else ""
        remedy = f"{unpacked}name the one that holds LIDC-IDRI-0001 and so on"
        raise ConfigError(f"lidc_root {lidc_root} is not a folder: {remedy}")
    owner = dict.fromkeys(patient_ids(), "") | patient_of_uid()
    folders: defaultdict[str, list[Path]] = defaultdict(list)
    seen: set[Path] = set()
    for name, path in _named_folders(lidc_root, owner, _DEPTH):
        if path.resolve() not in seen:
            folders[owner[name] or name].append(path)
        seen.add(path.resolve())
    if not folders:
        remedy = "name the folder that holds LIDC-IDRI-0001, or folders named by the UIDs of studies or series"
        raise ConfigError(f"lidc_root {lidc_root} has no patient of LIDC-IDRI: {remedy}")
    return {patient: tuple(paths) for patient, paths in sorted(folders.items())}


def _named_folders(folder: Path, names: Collection[str], depth: int) -> Iterator[tuple[str, Path]]:
    """Name and path of the uppermost folders whose name, or the part after its last underscore, is among ``names``."""
    for path in sorted(folder.iterdir()):
        name = path.name.rpartition("_")[2]
        if name in names and path.is_symlink() and not path.exists():
            raise ConfigError(f"{path} is a broken link: restore its target, or remove it")
        if not path.is_dir():
            continue
        if name in names:
            yield name, path
        elif depth > 1:
            yield from _named_folders(path, names, depth - 1)


def crop_patient(
    folders: Sequence[Path], scans: Iterable[Scan], options: CropOptions, met: PatientFaults
) -> Iterator[NoduleCrop]:
    """Cut out all nodules of one patient and, on request, slices without any.

    Args:
        folders: of the patient.
        scans: of the patient.
        options: what to cut out.
        met: what was left out or did not fit; added to.

    Raises:
        DataError: if none of the patient's wanted series is on disk, or one of them cannot be used.
    """
    found_any = False
    missing: list[Scan] = []
    for scan in scans:
        selection = find_nodules(scan, options.min_raters)
        met.left_out["nodules_over_four_annotations"] += selection.num_over_four_annotations
        met.left_out["nodules_below_min_raters"] += selection.num_below_min_raters
        if not selection.nodules and not options.negatives:
            continue
        series = find_series(scan.patient_id, folders, scan.series_uid)
        if series is None:
            missing.append(scan)
            continue
        found_any = True
        detail = "files at the z of another slice: the lower instance number is kept"
        met.add(scan, "duplicated_slices", series.num_duplicates, f"{series.num_duplicates} {detail}")
        yield from _crop_series(scan, selection.nodules, series, options, met)
    if missing and not found_any:
        raise DataError(f"{missing[0].patient_id}: no CT image of series {missing[0].series_uid} in its folder")
    for scan in missing:
        logger.warning("%s: series %s is not on disk", scan.patient_id, scan.series_uid)
        met.add(scan, "scans_not_on_disk", 1, "the patient's other scan is used")


def _crop_series(
    scan: Scan, nodules: Iterable[Nodule], series: Series, options: CropOptions, met: PatientFaults
) -> Iterator[NoduleCrop]:
    read_hu = functools.lru_cache(maxsize=_CACHED_SLICES)(series.read_hu)
    for nodule in nodules:
        runs = crop_runs(
            nodule,
            series,
            options.roi_size,
            read_hu,
            spacing_mm=options.spacing_mm,
            largest_only=options.slices == "max-area",
        )
        crop = NoduleCrop(nodule, series.is_phantom, tuple(runs))
        absent = [z_mm for z_mm in nodule.z_mm if series.nearest(z_mm, scan.slice_spacing_mm / 2) is None]
        detail = f"{nodule.nodule_id}: no slice within half a spacing of z = {', '.join(f'{z:g}' for z in absent)} mm"
        met.add(scan, "annotated_slices_not_on_disk", len(absent), detail)
        if crop.runs:
            yield crop
        else:
            met.add(scan, "nodules_not_on_disk", 1, f"{nodule.nodule_id}: none of its slices")
    negatives = list(
        crop_negatives(scan, series, options.negatives, options.roi_size, options.seed, options.spacing_mm)
    )
    shortage = options.negatives - len(negatives)
    met.add(scan, "negatives_not_found", shortage, f"{len(negatives)} slices without a nodule")
    for nodule, run in negatives:
        yield NoduleCrop(nodule, series.is_phantom, (run,))
