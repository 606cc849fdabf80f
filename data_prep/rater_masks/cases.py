"""Lists the images and masks of a folder or of a CSV file.

A folder holds one folder per case, which is also the patient: ``<case>/image.nii.gz`` and
``<case>/rater-<name>.nii.gz``, in any of the formats read (NIfTI, NRRD, MetaImage; masks also DICOM SEG or RTSTRUCT,
``rater-<name>.dcm``, and 3D Slicer's ``rater-<name>.seg.nrrd``). ``image`` may also be a folder of DICOM slices, or
``image.zip`` with them.

A CSV file has a row per mask: ``case``, ``image``, ``rater``, ``mask``, and ``patient_id`` (or ``patient``) if a
patient has several cases; case, blanks and marks in these names do not count. Paths are relative to the file.

The folder of a MONAI Label server is one, too (:mod:`data_prep.rater_masks.label_datastore`).

A mask without any voxel says that the rater saw nothing; no mask says that the rater did not look.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from data_prep.rater_masks.label_datastore import DATASTORE_NAME, datastore_cases
from data_prep.rater_masks.rater_case import RaterCase
from data_prep.split import composed
from mose_med.errors import ConfigError
from mose_med.files.file_tree import shown_in
from mose_med.files.tables import read_table
from mose_med.io.volumes import VOLUME_SUFFIXES

__all__ = ["OBJECT_SUFFIX", "RaterCase", "find_cases", "rater_names"]

_LOGGER = logging.getLogger(__name__)
#: Of DICOM SEG, whose segment numbers are the classes, and of RTSTRUCT.
OBJECT_SUFFIX = ".dcm"
_IMAGE = "image"
#: Before the suffix of a segmentation of 3D Slicer; no part of the rater's name.
_SLICERS = ".seg"
_RATER_PREFIX = "rater-"
#: What looks like a volume, wherever it stands in a name: ``.nii.gz.bak``.
_LIKE_VOLUMES = {*VOLUME_SUFFIXES, OBJECT_SUFFIX, ".hdr", ".img", ".mgh", ".mgz", ".mnc", ".tif", ".tiff"}
#: Their values are in files of their own.
_DETACHED_HEADERS = (".mhd", ".nhdr")
_VALUES_SUFFIXES = (".raw", ".zraw", ".raw.gz", ".raw.bz2")
_MOST_NAMES = 10
_COLUMNS = ("case", "image", "rater", "mask")
_PATIENT = "patient_id"
_OTHER_NAMES = {"patientid": _PATIENT, "patient": _PATIENT}


def find_cases(source: Path) -> list[RaterCase]:
    """Cases of a folder or of a CSV file, sorted by name.

    Raises:
        ConfigError: if the source is missing, names no case, or is no such CSV file.
    """
    if (source / DATASTORE_NAME).is_file():
        cases = datastore_cases(source)
    elif source.is_dir():
        cases = [_case_of_folder(folder) for folder in _case_folders(source)]
        _name_others(source, [*_loose_volumes(source), *(path for case in cases for path in case.others)])
    elif source.is_file():
        cases = _cases_of_csv(source)
    else:
        raise ConfigError(f"source {source} does not exist: name a folder of cases or a CSV file")
    if not cases:
        raise ConfigError(f"source {source} has no case: expected <case>/image.nii.gz and <case>/rater-<name>.nii.gz")
    for case in cases:
        _require_own_masks(case)
    return _with_one_spelling(cases)


def _with_one_spelling(cases: Sequence[RaterCase]) -> list[RaterCase]:
    """The cases with the first spelling of every rater: ``Anna`` is ``anna``, with accents in one form or in two."""
    spellings: dict[str, str] = {}
    for name in sorted({rater for case in cases for rater in case.masks}):
        spellings.setdefault(composed(name).casefold(), name)
    respelt = []
    for case in cases:
        masks: dict[str, tuple[Path, ...]] = {}
        for name, paths in case.masks.items():
            spelling = spellings[composed(name).casefold()]
            masks[spelling] = (*masks.get(spelling, ()), *paths)
        respelt.append(replace(case, masks=masks))
    return respelt


def _require_own_masks(case: RaterCase) -> None:
    """Refuse a file that is the mask of two raters: they would agree in full."""
    owners: dict[Path, str] = {}
    for rater, paths in case.masks.items():
        for path in paths:
            owner = owners.setdefault(path.resolve(), rater)
            if owner != rater:
                raise ConfigError(
                    f"case {case.case} has one mask for two raters, {owner} and {rater}: {path}: name the file of each"
                )


def rater_names(cases: Iterable[RaterCase]) -> tuple[str, ...]:
    """Raters of any case, sorted: the order of the masks in the datalist.

    Raises:
        ConfigError: if there is none.
    """
    names = tuple(sorted({rater for case in cases for rater in case.masks}))
    if not names:
        raise ConfigError(f"no case has a mask: expected <case>/{_RATER_PREFIX}<name>.nii.gz")
    return names


def _case_folders(source: Path) -> list[Path]:
    """Folders of cases, sorted; of one and the links to it the folder itself, or else the first link."""
    paths = sorted(shown_in(source), key=Path.is_symlink)
    folders: dict[Path, Path] = {}
    for path in paths:
        if path.is_symlink() and not path.exists():
            raise ConfigError(f"{path} is a broken link: restore its target, or remove it")
        if path.is_dir():
            folders.setdefault(path.resolve(), path)
    return sorted(folders.values())


def _case_of_folder(folder: Path) -> RaterCase:
    images: list[Path] = []
    masks: dict[str, tuple[Path, ...]] = {}
    others: list[Path] = []
    entries = shown_in(folder)
    has_detached_header = any(path.name.lower().endswith(_DETACHED_HEADERS) for path in entries)
    for path in entries:
        stem = _stem(path)
        start = (stem or "").lower()
        if start == _IMAGE:
            images.append(path)
        elif stem is not None and start.startswith(_RATER_PREFIX):
            rater = stem[len(_RATER_PREFIX) :]
            masks[rater] = (*masks.get(rater, ()), path)
        elif start.startswith(_RATER_PREFIX[:-1]):
            raise ConfigError(
                f"{path} must be named {_RATER_PREFIX}<name> to be the mask of a rater: rename it, or move it away"
            )
        elif _may_be_meant(path) and not (has_detached_header and path.name.lower().endswith(_VALUES_SUFFIXES)):
            others.append(path)
    return RaterCase(folder.name, folder.name, tuple(images), masks, tuple(others))


def _may_be_meant(path: Path) -> bool:
    """Whether what is not read begins like the mask of a rater, or looks like a volume."""
    begins = path.name.lower().startswith(_RATER_PREFIX[:-1])
    return begins or any(suffix.lower() in _LIKE_VOLUMES for suffix in path.suffixes)


def _loose_volumes(source: Path) -> list[Path]:
    """What lies beside the folders of cases, as if it were in one."""
    return [path for path in shown_in(source) if not path.is_dir() and (_stem(path) or _may_be_meant(path))]


def _name_others(source: Path, others: Sequence[Path]) -> None:
    if not others:
        return
    names = [path.relative_to(source).as_posix() for path in others]
    more = f" and {len(names) - _MOST_NAMES} more" if len(names) > _MOST_NAMES else ""
    _LOGGER.warning(
        "not read, being neither image nor %s<name> in a format that is read: %s%s",
        _RATER_PREFIX,
        ", ".join(names[:_MOST_NAMES]),
        more,
    )


def _stem(path: Path) -> str | None:
    """Name without the ending of a volume; None of any other file."""
    if path.name.lower() in (_IMAGE, f"{_IMAGE}.zip"):
        return _IMAGE
    suffixes = sorted((*VOLUME_SUFFIXES, OBJECT_SUFFIX), key=len, reverse=True)
    suffix = next((suffix for suffix in suffixes if path.name.lower().endswith(suffix)), None)
    if suffix is None:
        return None
    stem = path.name[: -len(suffix)]
    return stem[: -len(_SLICERS)] if stem.lower().endswith(_SLICERS) else stem


def _cases_of_csv(source: Path) -> list[RaterCase]:
    columns, rows = read_table(source, "source", ConfigError, (*_COLUMNS, _PATIENT))
    named = _named_columns(columns)
    missing = [column for column in _COLUMNS if column not in named]
    if missing:
        raise ConfigError(f"source {source} must have the columns {','.join(_COLUMNS)}, lacks {missing[0]}")
    cases: dict[str, RaterCase] = {}
    without_patient: set[str] = set()
    for row in rows:
        values = {column: row.text(own_name) for column, own_name in named.items()}
        empty = next((column for column in _COLUMNS if not values[column]), None)
        if empty is not None:
            raise ConfigError(f"source {source}, line {row.line}: needs a value in the column {empty}")
        if not values.get(_PATIENT):
            values[_PATIENT] = values["case"]
            without_patient.add(values["case"])
        cases[values["case"]] = _with_row(cases.get(values["case"]), values, source, row.line)
    if without_patient:
        _LOGGER.info("cases without a %s, each taken as a patient: %d", _PATIENT, len(without_patient))
    return [cases[name] for name in sorted(cases)]


def _named_columns(columns: Sequence[str]) -> dict[str, str]:
    """Names in the table of the columns that are read, by our own; a column of exactly our name comes first."""
    named = {column: column for column in (*_COLUMNS, _PATIENT) if column in columns}
    for column in columns:
        plain = re.sub(r"[\W_]", "", column)
        known = _OTHER_NAMES.get(plain, plain)
        if known in (*_COLUMNS, _PATIENT):
            named.setdefault(known, column)
    others = [column for column in columns if column and column not in named.values()]
    if others:
        _LOGGER.warning("columns of the source that are not read: %s", ", ".join(others))
    return named


def _with_row(case: RaterCase | None, row: Mapping[str, str], source: Path, line: int) -> RaterCase:
    image, mask = source.parent / row["image"], source.parent / row["mask"]
    if case is None:
        return RaterCase(row["case"], row[_PATIENT], (image,), {row["rater"]: (mask,)})
    if case.patient != row[_PATIENT]:
        raise ConfigError(f"source {source}, line {line}: case {case.case} has a different patient_id above")
    is_known = image.resolve() in [known.resolve() for known in case.images]
    images = case.images if is_known else (*case.images, image)
    of_rater = (*case.masks.get(row["rater"], ()), mask)
    return RaterCase(case.case, case.patient, images, {**case.masks, row["rater"]: of_rater})
