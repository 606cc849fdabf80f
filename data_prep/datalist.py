"""Writes the datalist, the one form of every source for training (read by :mod:`mose_med.data`).

A folder ``nodules`` with a NIfTI pair for every run of slices, ``dataset.json`` with an entry for every slice,
``nodules.csv`` with the place of every nodule, and ``manifest.json`` that says how it was made.
"""

from __future__ import annotations

import platform
from collections.abc import Iterable, Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any, NamedTuple

import nibabel as nib
import numpy as np
from numpy.typing import NDArray

from mose_med import __version__
from mose_med.data.class_flips import ClassFlip
from mose_med.data.datalist import ID_KEY, PARTS
from mose_med.files.csv_files import write_csv
from mose_med.files.hashes import file_sha256
from mose_med.files.whole_files import write_json
from mose_med.geometry import Affine

__all__ = [
    "DATALIST_NAME",
    "MANIFEST_NAME",
    "NODULES_NAME",
    "PRIVATE_NAME",
    "NoduleRow",
    "write_datalist",
    "write_manifest",
    "write_run",
    "write_volume",
]

DATALIST_NAME = "dataset.json"
MANIFEST_NAME = "manifest.json"
NODULES_NAME = "nodules.csv"
#: Folder of what must not be passed on, which the manifest does not tell of.
PRIVATE_NAME = "private"

_SCANNER_SPACE = 1


class NoduleRow(NamedTuple):
    """A line of ``nodules.csv``: the voxel at the window's centre in RAS millimetres, as inference takes positions."""

    nodule_id: str
    patient_id: str
    series_uid: str
    part: str
    raters: int
    slices: int
    x_ras_mm: float
    y_ras_mm: float
    z_ras_mm: float


def write_run(
    folder: Path, name: str, image: NDArray[np.generic], masks: NDArray[np.uint8], affine: Affine
) -> dict[str, str]:
    """Write one run of slices.

    Args:
        folder: of the datalist.
        name: of the run, used for both files.
        image: (i, j, k).
        masks: (i, j, k, R).
        affine: RAS mm, of both.

    Returns:
        The entry fields ``image`` and ``label``: paths relative to ``folder``.
    """
    (folder / "nodules").mkdir(exist_ok=True)
    paths = {"image": f"nodules/{name}.nii", "label": f"nodules/{name}_raters.nii"}
    for key, array in (("image", image), ("label", masks)):
        write_volume(folder / paths[key], array, affine)
    return paths


def write_volume(path: Path, array: NDArray[np.generic], affine: Affine) -> None:
    """Write an array (i, j, k, and more) as NIfTI at its place in the patient; ``affine`` is RAS mm."""
    volume = nib.Nifti1Image(array, affine)
    volume.set_sform(affine, _SCANNER_SPACE)
    volume.set_qform(affine, _SCANNER_SPACE)
    volume.header.set_xyzt_units("mm")
    nib.save(volume, path)


def write_datalist(
    folder: Path,
    *,
    name: str,
    source: str,
    classes: Sequence[str],
    num_raters: int,
    parts: Mapping[str, Sequence[Mapping[str, Any]]],
    nodules: Iterable[NoduleRow] | None,
    flips: Sequence[ClassFlip] = (),
    window_hu: tuple[float, float] | None = None,
    spacing_mm: float | None = None,
    id_key_sha256: str | None = None,
) -> Path:
    """Write ``dataset.json``, and ``nodules.csv`` where places are known.

    Args:
        folder: of the datalist.
        name: of the data set.
        source: where the data come from, in words.
        classes: background first.
        num_raters: masks of every slice.
        parts: entries of training, validation and test.
        nodules: in the order to be listed; None if the source does not say where they are.
        flips: class flips whose modes are the raters, where one label map is stored for all of them.
        window_hu: lowest and highest HU that are worth looking at; None says nothing.
        spacing_mm: in-plane spacing that all slices were resampled to; None if each has its own.
        id_key_sha256: of the key that ids are keyed hashes with; None if they are the source's own.

    Returns:
        Path of ``dataset.json``.
    """
    content: dict[str, Any] = {"name": name, "num_raters": num_raters, "classes": list(classes), "source": source}
    if window_hu is not None:
        content["window_hu"] = list(window_hu)
    if spacing_mm is not None:
        content["spacing_mm"] = spacing_mm
    if id_key_sha256 is not None:
        content[ID_KEY] = id_key_sha256
    if flips:
        content["flips"] = [flip._asdict() for flip in flips]
    content |= {part: list(parts.get(part, ())) for part in PARTS}
    path = folder / DATALIST_NAME
    write_json(path, content)
    if nodules is not None:
        write_csv(folder / NODULES_NAME, NoduleRow._fields, nodules)
    return path


def write_manifest(
    folder: Path, *, options: Mapping[str, Any], counts: Mapping[str, Any], packages: Iterable[str], citation: str
) -> None:
    """Write ``manifest.json``: versions, options, counts and the SHA-256 of every file, but private and hidden ones."""
    versions = {"python": platform.python_version(), "mose-med": __version__}
    versions |= {package: version(package) for package in packages}
    unlisted = (MANIFEST_NAME, PRIVATE_NAME)
    public = [path for path in folder.iterdir() if path.name not in unlisted and not path.name.startswith(".")]
    files = sorted(path for top in public for path in (top, *top.rglob("*")) if path.is_file())
    content = {
        "versions": versions,
        "options": dict(options),
        "counts": dict(counts),
        "citation": citation,
        "sha256": {path.relative_to(folder).as_posix(): file_sha256(path) for path in files},
    }
    write_json(folder / MANIFEST_NAME, content)
