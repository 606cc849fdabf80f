"""``mose-med prepare rater-masks``: from the user's images and masks to the datalist, with an inter-rater report."""

from __future__ import annotations

import functools
import hashlib
import json
import logging
import os
import re
import shutil
from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from data_prep.datalist import NoduleRow, write_datalist, write_run
from data_prep.rater_masks.agreement import CaseAgreement, case_agreement
from data_prep.rater_masks.agreement_report import write_agreement_report
from data_prep.rater_masks.cases import RaterCase, find_cases, rater_names
from data_prep.rater_masks.lesions import LesionCrop, crop_lesions
from data_prep.rater_masks.volumes import RatedVolume, load_case, may_have_layers
from data_prep.split import require_training_and_validation
from mose_med.data.datalist import PARTS
from mose_med.errors import ConfigError
from mose_med.files.csv_files import csv_text
from mose_med.files.file_tree import files_below
from mose_med.files.run_lock import only_run
from mose_med.io.volumes import is_volume
from pipelines.common.case_names import (
    KEY_NAME,
    case_key,
    case_name,
    give_case_key,
    has_case_key,
    key_id,
    private_folder,
    read_case_key,
    write_private,
)
from pipelines.common.data_files import files_of_image
from pipelines.common.runs.content import Content
from pipelines.common.runs.run_folder import OPTIONS_NAME
from pipelines.prepare.description import describe
from pipelines.prepare.failures import Failures
from pipelines.prepare.folder import PreparedDatalist, earlier_result, newly_prepared, progress_bar, written_whole
from pipelines.prepare.source_options import PrepareRaterMasksOptions

__all__ = ["PrepareRaterMasksOptions", "prepare_rater_masks"]

logger = logging.getLogger(__name__)

_ID_MAP_NAME = "id_map.csv"


@dataclass
class _Tally:
    """What has been written so far."""

    entries: dict[str, list[dict[str, Any]]] = field(default_factory=lambda: {part: [] for part in PARTS})
    nodules: list[NoduleRow] = field(default_factory=list)
    agreement: dict[str, CaseAgreement] = field(default_factory=dict)
    num_cut: int = 0
    num_without_annotation: int = 0
    num_lost: Counter[str] = field(default_factory=Counter)  # by part


class _Ids:
    """Ids as they are written; the map from them to the original ones."""

    def __init__(self, folder: Path, options: PrepareRaterMasksOptions) -> None:
        known = options.case_key
        if known is None and options.overwrite and has_case_key(options.output_dir) and not has_case_key(folder):
            known = private_folder(options.output_dir) / KEY_NAME  # so that names stay what they were
        if known is not None and not options.keep_ids:
            give_case_key(folder, read_case_key(known))
        self._key = None if options.keep_ids else case_key(folder)
        self._rows: list[tuple[str, str, str]] = []

    @property
    def key_sha256(self) -> str | None:
        """Which key the ids were made with; None if they are kept."""
        return None if self._key is None else key_id(self._key)

    def of(self, kind: str, original: str) -> str:
        """Id of a case or of a patient."""
        if self._key is None:
            return original
        written = case_name(self._key, f"{kind} {original}").replace("case-", f"{kind}-")
        self._rows.append((kind, written, original))
        return written

    def write(self, folder: Path, raters: Sequence[str]) -> None:
        """Write the map, for its owner only."""
        if self._key is None:
            return
        numbered = [("rater", str(number), rater) for number, rater in enumerate(raters, start=1)]
        text = csv_text(("kind", "written", "original"), [*sorted(set(self._rows)), *numbered])
        write_private(private_folder(folder) / _ID_MAP_NAME, text)


@only_run(beside=True)
def prepare_rater_masks(options: PrepareRaterMasksOptions) -> PreparedDatalist:
    """Write the datalist of the user's images and masks, and how far the raters agree.

    Returns:
        The datalist; an earlier one if the folder holds it, made with the same options.

    Raises:
        ConfigError: if an option, the source, the split or the output folder does not fit.
        DataError: if a case cannot be used, unless ``keep_going``.
        GeometryError: if a mask does not lie on its image's grid, unless ``keep_going``.
    """
    cases = find_cases(options.source)
    _require_use(options, cases)
    if options.keep_ids:
        _require_plain_names(cases)
    raters = _filled_up(rater_names(cases), options.num_raters)
    split = options.split({case.patient for case in cases})
    content = _content(options, cases)
    _require_own_images([case for case in cases if case.patient in split], content, options)
    done = earlier_result(options.output_dir, options.record(split), content, overwrite=options.overwrite)
    if done is not None:
        return done
    with written_whole(options.output_dir, anew=options.overwrite) as folder, progress_bar(options.quiet) as progress:
        shutil.rmtree(folder / "nodules", ignore_errors=True)
        tally, failures = _Tally(), Failures(keep_going=options.keep_going)
        ids = _Ids(folder, options)
        wanted = [case for case in cases if case.patient in split]
        for case in progress.track(wanted, description="Preparing cases"):
            name = ids.of("case", case.case)
            with failures.case(name, conceal=functools.partial(_concealed, case=case, name=name, raters=raters)):
                volume = load_case(case, raters, len(options.classes), options.layer, options.acquisition)
                patient = ids.of("patient", case.patient)
                _write_case(folder, volume, (name, patient, split[case.patient]), options, tally)
        ids.write(folder, raters)
        content.note(folder)
        not_in_split = {case.patient for case in cases} - split.keys()
        parts = _wanted_parts(options, split)
        counts = _finish(folder, options, raters, tally, failures, len(not_in_split), ids.key_sha256, parts)
    return newly_prepared(options.output_dir, counts, len(failures))


def _require_use(options: PrepareRaterMasksOptions, cases: Sequence[RaterCase]) -> None:
    """Refuse what is named for a kind of file, if there is no such file."""
    images = [path for case in cases for path in case.images]
    if options.acquisition is not None and images and all(map(is_volume, images)):
        raise ConfigError(
            f"acquisition applies only to DICOM images, got {options.acquisition} for volumes in one file each: "
            "leave it out"
        )
    masks = [path for case in cases for paths in case.masks.values() for path in paths]
    if options.layer is not None and masks and not any(map(may_have_layers, masks)):
        raise ConfigError(
            "layer applies only to masks of 3D Slicer (.nrrd, .nhdr) and structure sets (.dcm), "
            f"got {options.layer!r} for other masks: leave it out"
        )


def _require_plain_names(cases: Sequence[RaterCase]) -> None:
    """Refuse names of cases, kept in the names of files, that would lead into other folders."""
    for case in cases:
        if case.case in ("", ".", "..") or Path(case.case).name != case.case:
            raise ConfigError(
                f"case {case.case} must be a plain file name to be kept: rename it, or leave out --keep-ids"
            )


def _filled_up(raters: tuple[str, ...], number: int | None) -> tuple[str, ...]:
    """Raters, with nameless ones that never looked up to a number."""
    if number is None:
        return raters
    if len(raters) > number:
        raise ConfigError(f"num_raters must be >= {len(raters)}, the number of raters in the data, got {number}")
    return raters + tuple(f"nobody {n}" for n in range(len(raters) + 1, number + 1))


def _content(options: PrepareRaterMasksOptions, cases: Sequence[RaterCase]) -> Content:
    """What all files of the cases hold, and whose they are."""
    named = [path for case in cases for paths in (case.images, *case.masks.values()) for path in paths]
    files = [Path(file) for path in named for file in _files(path)]
    names = json.dumps([(case.case, case.patient, sorted(case.masks)) for case in cases])
    listing = {"the list of cases": hashlib.sha256(names.encode()).hexdigest()}
    named_files = {_content_name(file, options): file for file in files}
    return Content.of_files(options.output_dir, named_files, beside=listing)


def _content_name(file: Path | str, options: PrepareRaterMasksOptions) -> str:
    root = options.source if options.source.is_dir() else options.source.parent
    return os.path.relpath(file, root)


def _require_own_images(cases: Sequence[RaterCase], content: Content, options: PrepareRaterMasksOptions) -> None:
    """Refuse an image that two patients have: one of them might be learnt from, and the other measured on."""
    owners: dict[tuple[str, ...], RaterCase] = {}
    for case in cases:
        names = [_content_name(file, options) for path in case.images for file in _files(path)]
        image = tuple(sorted(content.sha256_of(name) for name in names))
        owner = owners.setdefault(image, case) if image else case
        if owner.patient != case.patient:
            raise ConfigError(
                f"cases {owner.case} and {case.case} have the same image, but are of two patients, {owner.patient} and "
                f"{case.patient}: remove one, or name one patient_id for both in a CSV file"
            )


def _files(path: Path) -> Iterable[Path | str]:
    """Files of an image or a mask; none if it is missing, which is reported when it is read."""
    if path.is_dir():
        return iter(files_below(path).files)
    return files_of_image(str(path)) if path.is_file() else ()


def _concealed(message: str, *, case: RaterCase, name: str, raters: Sequence[str]) -> str:
    """The message without paths and original ids; in place of each name stands what it is of."""
    roles = {str(path): "image" for path in case.images}
    for rater, paths in case.masks.items():
        number = raters.index(rater) + 1
        roles |= {str(path): f"mask of rater {number}" for path in paths} | {f"rater {rater}": f"rater {number}"}
    roles |= {Path(path).name: role for path, role in roles.items()}
    for folder in filter(Path.is_dir, case.images):
        roles |= {Path(file).name: "a file of the image" for file in files_below(folder).files}
    # A short id may be a number of the message: it is one where the message begins, and part of no other word.
    shown = re.sub(rf"^{re.escape(case.case)}(?!\w)", name, message)
    for original in sorted(roles, key=len, reverse=True):
        shown = shown.replace(original, roles[original])
    for original, role in ((case.case, name), (case.patient, "the patient")):
        if not original.isdigit():
            shown = re.sub(rf"(?<!\w){re.escape(original)}(?!\w)", role, shown)
    return shown


def _write_case(
    folder: Path, volume: RatedVolume, ids: tuple[str, str, str], options: PrepareRaterMasksOptions, tally: _Tally
) -> None:
    """Write the objects of a case; ``ids`` are its name, its patient's and the part it belongs to."""
    case, patient, part = ids
    voxel_ml = abs(float(np.linalg.det(volume.affine[:3, :3]))) / 1000
    tally.agreement[case] = case_agreement(volume.masks, volume.present, len(options.classes), voxel_ml)
    weights = (volume.present / volume.present.sum()).tolist()
    crops = list(crop_lesions(volume, options.roi_size, options.spacing_mm))
    tally.num_without_annotation += not crops
    for crop in crops:
        if not crop.raters:
            tally.num_lost[part] += 1
            continue
        nodule_id = f"{case}_lesion-{crop.number}"
        paths = write_run(folder, nodule_id, crop.image, crop.masks, crop.affine)
        about = {"nodule_id": nodule_id, "patient_id": patient, "series_uid": case, "padded": crop.padded}
        tally.entries[part] += [
            {**paths, "slice": k, "z_mm": z_mm, "rater_weights": weights, "raters_present": present, **about}
            for k, (z_mm, present) in enumerate(zip(crop.z_mm, crop.raters_present, strict=True))
        ]
        tally.nodules.append(_row(nodule_id, patient, case, part, crop))
        tally.num_cut += crop.cut


def _row(nodule_id: str, patient: str, case: str, part: str, crop: LesionCrop) -> NoduleRow:
    x, y, z = (round(value, 4) for value in crop.centre_mm)
    return NoduleRow(nodule_id, patient, case, part, crop.raters, len(crop.z_mm), x, y, z)


def _wanted_parts(options: PrepareRaterMasksOptions, split: Mapping[str, str]) -> list[str]:
    """Parts that a patient belongs to, or that a split by hash has a share for."""
    shares = options.fractions if options.split_csv is None else (0.0,) * len(PARTS)
    return [part for part, share in zip(PARTS, shares, strict=True) if share or part in split.values()]


def _remedy_for_lost(options: PrepareRaterMasksOptions) -> str:
    return "a larger --crop" if options.spacing_mm is None else "a finer --spacing"


def _require_slices(sizes: Mapping[str, int], tally: _Tally, options: PrepareRaterMasksOptions) -> None:
    """Refuse a part without slices, saying whether there were objects of which the window has no voxel."""
    for part in PARTS[:2]:
        if not sizes[part] and tally.num_lost[part]:
            raise ConfigError(
                f"{part} part has no annotated slice, no mask has a voxel of its {tally.num_lost[part]} objects in the "
                f"window: use {_remedy_for_lost(options)}"
            )
    require_training_and_validation(sizes, "annotated slice")


def _finish(
    folder: Path,
    options: PrepareRaterMasksOptions,
    raters: Sequence[str],
    tally: _Tally,
    failures: Failures,
    num_not_in_split: int,
    key_sha256: str | None,
    wanted_parts: Collection[str],
) -> dict[str, Any]:
    sizes = {part: len(entries) for part, entries in tally.entries.items()}
    failures.require_some_left(len(tally.agreement))
    if tally.num_without_annotation:
        logger.info("cases in which no rater drew anything are left out: %d", tally.num_without_annotation)
    _require_slices(sizes, tally, options)
    write_datalist(
        folder,
        name=options.name,
        source=f"Images annotated by {len(raters)} raters",
        classes=options.classes,
        num_raters=len(raters),
        parts=tally.entries,
        nodules=tally.nodules,
        spacing_mm=options.spacing_mm,
        id_key_sha256=key_sha256,
    )
    entries = [entry for part in PARTS for entry in tally.entries[part]]
    kappa = write_agreement_report(folder, tally.agreement, num_raters=len(raters), classes=options.classes)
    failures.write(folder)
    if tally.num_cut:
        logger.warning("%d objects are larger than the window %s and are cut", tally.num_cut, options.roi_size)
    num_lost = tally.num_lost.total()
    if num_lost:
        why = f"{_remedy_for_lost(options)} may keep them"
        logger.warning("%d objects are left out, no mask has a voxel of them in the window: %s", num_lost, why)
    for part in wanted_parts:
        if not sizes[part]:
            logger.warning("the %s part has no annotated slice: another --split-salt or --split may give it some", part)
    counts = {
        "patients": len({entry["patient_id"] for entry in entries}),
        "cases": len(tally.agreement),
        "cases_without_annotation": tally.num_without_annotation,
        "objects": len(tally.nodules),
        "objects_larger_than_window": tally.num_cut,
        "slices": len(entries),
        "slices_by_part": sizes,
        "slices_padded": sum(entry["padded"] for entry in entries),
        "fleiss_kappa": None if np.isnan(kappa) else round(kappa, 6),
        "left_out": {
            "cases_failed": len(failures),
            "patients_not_in_split": num_not_in_split,
            "objects_without_a_voxel": num_lost,
        },
    }
    record = json.loads((folder / OPTIONS_NAME).read_text(encoding="utf-8"))
    packages = ("numpy", "nibabel", "SimpleITK")
    describe(folder, counts=counts, options=record, packages=packages, licences=("Your own.",), window=None)
    return counts
