"""Sets of masks in folders, from any tool: NIfTI, one file per sample or all samples in one 4D file."""

from __future__ import annotations

import hashlib
import logging
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from mose_med.errors import ConfigError, DataError, GeometryError
from mose_med.files.file_tree import shown_in
from mose_med.files.tables import Row, read_json, read_rows
from mose_med.geometry import grid_difference
from mose_med.io.mask_values import is_foreground_255, whole_values
from mose_med.io.nifti.file import read_nifti_volume
from mose_med.io.nifti.transforms import chosen_transform

__all__ = ["MaskSet", "case_names", "mask_fingerprint", "read_mask_set", "read_weights"]

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


def case_names(folder: Path) -> list[str]:
    """Cases of a folder: every ``<case>.nii[.gz]``, 3D or 4D, and every sub-folder ``<case>`` of 3D files.

    Hidden files and folders, whose names begin with a dot, are none.

    Raises:
        ConfigError: if the folder is missing or holds no case, or a case twice.
    """
    if not folder.is_dir():
        raise ConfigError(f"folder {folder} does not exist")
    names = [_stem(path) for path in shown_in(folder) if path.is_dir() or path.name.endswith(_ENDINGS)]
    if not names:
        raise ConfigError(f"folder {folder} holds no case: it needs <case>.nii.gz files or <case> folders of them")
    twice = {name for name in names if names.count(name) > 1}
    if twice:
        raise ConfigError(f"folder {folder} holds case {min(twice)} twice: keep the file or the folder")
    return sorted(names)


def read_mask_set(folder: Path, case: str, *, foreground_255: bool = False) -> MaskSet:
    """Masks of a case, files of a sub-folder in the order of their names.

    Args:
        folder: of all cases.
        case: its name.
        foreground_255: in a file that holds 255 alone, as programs for pictures write foreground, it is class 1.

    Raises:
        DataError: if a file cannot be read, a mask is not of integers, or grids differ.
    """
    files = _files(folder, case)
    if not files:
        raise DataError(f"case {case} has no NIfTI file in {folder}")
    sets = [_read(path, case) for path in files]
    for found, path in zip(sets, files, strict=True):
        difference = found.grid_difference(sets[0], whose="the other's")
        if difference is not None:
            raise DataError(f"case {case}: {path.name} must lie on the grid of {files[0].name}: {difference}")
    masks = [found.masks for found in sets]
    if foreground_255:
        masks = _without_255(masks, f"{folder.name} of case {case}")
    return MaskSet(torch.cat(masks, dim=1), sets[0].affine)


def mask_fingerprint(folder: Path, case: str) -> str:
    """Hash of names, sizes and times of change of the files of a case."""
    status = {path.name: path.stat() for path in _files(folder, case)}
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
        return {case: [float(value) for value in values] for case, values in content.items()}
    except (ValueError, TypeError, AttributeError) as error:
        raise ConfigError(f"weights {path} must hold a list of numbers for each case: {error}") from error


def _weights_of_rows(path: Path) -> dict[str, list[float]]:
    weights: dict[str, list[float]] = {}
    for row in read_rows(path, "weights", ConfigError):
        case = row.text("0")
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


def _stem(path: Path) -> str:
    name = path.name
    for ending in _ENDINGS:
        name = name.removesuffix(ending)
    return name


def _files(folder: Path, case: str) -> list[Path]:
    inside = folder / case
    if inside.is_dir():
        return [path for path in shown_in(inside) if path.name.endswith(_ENDINGS)]
    return [path for path in (folder / f"{case}{ending}" for ending in _ENDINGS) if path.is_file()]


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
    limits = np.iinfo(np.int16)
    if wrong is None and not limits.min <= whole.min() <= whole.max() <= limits.max:
        wrong = float(whole.max() if whole.max() > limits.max else whole.min())
    if wrong is not None:
        raise DataError(f"case {case}: {path.name} must hold integer classes, got {wrong}: take the argmax first")
    maps = whole.astype(np.int16)
    return MaskSet(torch.from_numpy((np.moveaxis(maps, -1, 0) if values.ndim == 4 else maps[None])[None]), affine)
