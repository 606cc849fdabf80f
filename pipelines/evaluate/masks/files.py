"""Sets of masks in folders, from any tool: NIfTI, one file per sample or all samples in one 4D file."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from data_prep.split import composed
from mose_med.errors import ConfigError, DataError, GeometryError
from mose_med.files.file_tree import files_below, shown_in
from mose_med.files.tables import Row, read_json, read_rows
from mose_med.geometry import grid_difference
from mose_med.io.mask_values import is_foreground_255, whole_values
from mose_med.io.nifti.file import read_nifti_volume
from mose_med.io.nifti.transforms import chosen_transform
from mose_med.io.volumes import is_volume

__all__ = ["MaskSet", "case_places", "mask_fingerprint", "read_mask_set", "read_weights", "warn_of_unread"]

_logger = logging.getLogger(__name__)
_ENDINGS = (".nii.gz", ".nii")


class MaskSet(NamedTuple):
    """Masks of one case.

    Attributes:
        masks: class maps, (1, N, i, j, k) int16.
        affine: of their grid, (4, 4).
    """

    masks: Tensor
    affine: np.ndarray

    def grid_difference(self, other: MaskSet, *, whose: str) -> str | None:
        """How the grid differs from that of other masks, in words; None if it does not."""
        return grid_difference(
            tuple(self.masks.shape[2:]), self.affine, tuple(other.masks.shape[2:]), other.affine, whose=whose
        )


def case_places(folder: Path) -> dict[str, Path]:
    """Cases of a folder: every ``<case>.nii[.gz]``, 3D or 4D, and every sub-folder ``<case>`` of 3D files.

    Hidden files and folders, whose names begin with a dot, are none. Names are composed, as most systems write them:
    macOS may take umlauts apart.

    Raises:
        ConfigError: if the folder is missing or holds no case, or a case twice.
    """
    if not folder.is_dir():
        raise ConfigError(f"folder {folder} does not exist")
    found = [(_case_of(path), path) for path in shown_in(folder) if path.is_dir() or _is_nifti(path)]
    if not found:
        raise ConfigError(f"folder {folder} holds no case: it needs <case>.nii.gz files or <case> folders of them")
    names = [name for name, _ in found]
    twice = {name for name in names if names.count(name) > 1}
    if twice:
        raise ConfigError(f"folder {folder} holds case {min(twice)} twice: keep the file or the folder")
    return dict(sorted(found))


def warn_of_unread(folder: Path, places: Mapping[str, Path]) -> None:
    """Name the volumes that belong to no case, and in one line for each case those that are not read."""
    beside = [path.name for path in shown_in(folder) if path.is_file() and is_volume(path) and not _is_nifti(path)]
    _warn_of(beside, folder.name)
    for case, place in places.items():
        _warn_of(_unread(place) if place.is_dir() else [], f"{folder.name} of case {case}")


def read_mask_set(place: Path, case: str, *, foreground_255: bool = False) -> MaskSet:
    """Masks of a case, files of a folder in the order of their names.

    Args:
        place: its file or folder.
        case: its name.
        foreground_255: in a file that holds 255 alone, as programs for pictures write foreground, it is class 1.

    Raises:
        DataError: if a file cannot be read, a mask is not of integers, or grids differ.
    """
    files = _files(place)
    if not files:
        raise DataError(f"case {case} has no NIfTI file in {place}")
    sets = [_read(path, case) for path in files]
    for found, path in zip(sets, files, strict=True):
        difference = found.grid_difference(sets[0], whose="the other's")
        if difference is not None:
            raise DataError(f"case {case}: {path.name} must lie on the grid of {files[0].name}: {difference}")
    masks = [found.masks for found in sets]
    if foreground_255:
        masks = _without_255(masks, f"{place.parent.name} of case {case}")
    return MaskSet(torch.cat(masks, dim=1), sets[0].affine)


def mask_fingerprint(place: Path) -> str:
    """Hash of names, sizes and times of change of the files of a case."""
    status = {path.name: path.stat() for path in _files(place)}
    lines = [f"{name}\0{found.st_size}\0{found.st_mtime_ns}" for name, found in status.items()]
    return hashlib.sha256("\n".join(lines).encode("utf-8", "surrogateescape")).hexdigest()


def read_weights(path: Path) -> dict[str, list[float]]:
    """Weights by case: JSON ``{"case": [0.5, 0.5]}``, or CSV lines ``case,0.5,0.5`` without a header.

    Raises:
        ConfigError: if the file is missing or not of this form, or names a case twice.
    """
    if not path.is_file():
        raise ConfigError(f"weights {path} do not exist")
    if path.suffix.lower() != ".json":
        return _weights_of_rows(path)
    content = read_json(path, "weights", ConfigError)
    try:
        return {composed(case): [float(value) for value in values] for case, values in content.items()}
    except (ValueError, TypeError, AttributeError) as error:
        raise ConfigError(f"weights {path} must hold a list of numbers for each case: {error}") from error


def _weights_of_rows(path: Path) -> dict[str, list[float]]:
    weights: dict[str, list[float]] = {}
    for row in read_rows(path, "weights", ConfigError):
        case = composed(row.text("0"))
        if case in weights:
            raise ConfigError(f"weights {path}, line {row.line} must name {case!r} once, got it twice: leave one")
        weights[case] = _weights_of(row, path)
    return weights


def _weights_of(row: Row, path: Path) -> list[float]:
    weights = []
    for column in list(row.values)[1:]:
        weight = row.number_in(column)
        if weight is None:
            raise ConfigError(
                f"weights {path} must hold a list of numbers for each case, got {row.text(column)!r} in line {row.line}"
            )
        weights.append(weight)
    return weights


def _is_nifti(path: Path) -> bool:
    return path.name.lower().endswith(_ENDINGS)


def _case_of(place: Path) -> str:
    """Name of the case of a file or folder, composed."""
    endings = () if place.is_dir() else _ENDINGS
    cut = next((len(ending) for ending in endings if place.name.lower().endswith(ending)), 0)
    return composed(place.name[: len(place.name) - cut])


def _files(place: Path) -> list[Path]:
    return [path for path in shown_in(place) if _is_nifti(path)] if place.is_dir() else [place]


def _unread(folder: Path) -> list[str]:
    """Volumes of a case's folder that are none of its masks."""
    unread = [path.name for path in shown_in(folder) if path.is_file() and is_volume(path) and not _is_nifti(path)]
    folders = (path for path in shown_in(folder) if path.is_dir() and not _is_nifti(path))
    below = (path for inner in folders for path in files_below(inner).files)
    return unread + [path.relative_to(folder).as_posix() for path in below if is_volume(path)]


def _warn_of(unread: list[str], whose: str) -> None:
    if unread:
        names = f"{unread[0]} and {len(unread) - 1} more are" if len(unread) > 1 else f"{unread[0]} is"
        _logger.warning("%s: %s not read: masks are .nii or .nii.gz files, not in further folders", whose, names)


def _without_255(files: list[Tensor], whose: str) -> list[Tensor]:
    """Masks of files, in which 255 alone is class 1; says so."""
    held = [is_foreground_255(masks.numpy()) for masks in files]
    if any(held):
        where = f" in {sum(held)} of {len(files)} files" if len(files) > 1 else ""
        _logger.warning("%s hold 255 and no other class%s: read as class 1", whose, where)
    return [(masks != 0).to(masks.dtype) if found else masks for masks, found in zip(files, held, strict=True)]


def _read(path: Path, case: str) -> MaskSet:
    """Masks of a 3D or 4D file."""
    try:
        volume = read_nifti_volume(path)
        values, affine = volume.array, chosen_transform(volume.transforms)
    except (DataError, GeometryError) as error:
        raise DataError(f"case {case}: {error}") from error
    if values.ndim not in (3, 4):
        raise DataError(f"case {case}: {path.name} must be 3D or 4D, got shape {values.shape}")
    whole, wrong = whole_values(values)
    if wrong is not None:
        raise DataError(f"case {case}: {path.name} must hold integer classes, got {wrong}: take the argmax first")
    limits = np.iinfo(np.int16)
    if not limits.min <= whole.min() <= whole.max() <= limits.max:
        beyond = int(whole.max() if whole.max() > limits.max else whole.min())
        raise DataError(
            f"case {case}: {path.name} must hold classes {limits.min} to {limits.max}, got {beyond}: number them anew"
        )
    maps = whole.astype(np.int16)
    return MaskSet(torch.from_numpy((np.moveaxis(maps, -1, 0) if values.ndim == 4 else maps[None])[None]), affine)
