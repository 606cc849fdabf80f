"""Positions from masks: the centroids of connected components (26 neighbours).

Components are those of one label, so that labels that touch stay apart. A nodule is named by its label: the name of the
segment in a file of 3D Slicer, else the number; components of one label are numbered. In a mask of one label that has
no name, the number alone is the name.

TotalSegmentator writes a folder with a file for each structure; its task ``lung_nodules`` names them ``lung.nii.gz``
and ``lung_nodules.nii.gz``. Of a folder only files that are named as nodules count: an organ is none.
"""

from __future__ import annotations

import logging
import re
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from mose_med.errors import DataError
from mose_med.files.file_tree import shown_in
from mose_med.geometry import Affine, index_to_mm, translated
from mose_med.inferers.lesions.components import labelled
from mose_med.io.mask_values import whole_values
from mose_med.io.nifti.transforms import NiftiTransform
from mose_med.io.nodules.nodule import Nodule, distinct_names
from mose_med.io.slicer import read_segments
from mose_med.io.volumes import is_volume

__all__ = ["component_centroids", "folder_nodules", "label_map_nodules"]

_LOGGER = logging.getLogger(__name__)
_LARGEST_LABEL = 65535
_NAMED_AS_NODULES = re.compile(r"nodule", re.IGNORECASE)


class _Labelled(NamedTuple):
    """Where a label is: its name, its mask in a box (i, j, k), and the affine of the box."""

    name: str
    mask: NDArray[np.bool_]
    affine: Affine


def label_map_nodules(path: Path, transform: NiftiTransform = "auto") -> list[Nodule]:
    """Nodules of a label map or of a segmentation of 3D Slicer; none where it is 0 everywhere.

    Args:
        path: of the file.
        transform: of a NIfTI file, which of its transforms to take, as for :func:`~mose_med.io.read_ct`.

    Raises:
        DataError: if it cannot be read, or its values are not whole numbers.
        GeometryError: if its affine is not invertible, or its header does not say where it lies.
    """
    return _nodules([part for parts in _labels(path, transform) for part in parts])


def folder_nodules(folder: Path, transform: NiftiTransform = "auto") -> list[Nodule]:
    """Nodules of the files of a folder that are named as nodules.

    Args:
        folder: of the files.
        transform: as for :func:`label_map_nodules`.

    Raises:
        DataError: if no file is, or one cannot be read.
        GeometryError: if an affine is not invertible, or a header does not say where its file lies.
    """
    volumes = [path for path in shown_in(folder) if path.is_file() and is_volume(path)]
    named = [path for path in volumes if _NAMED_AS_NODULES.search(path.name)]
    if not named:
        raise DataError(
            f"nodule list {folder} must have a volume that is named as nodules (lung_nodules.nii.gz), got "
            f"{len(volumes)} others: name the file of the nodules itself"
        )
    if len(volumes) > len(named):
        _LOGGER.info("%d volumes that are not named as nodules are left out", len(volumes) - len(named))
    parts = [part for path in named for parts in _labels(path, transform) for part in parts]
    return _nodules(parts)


def component_centroids(mask: NDArray[np.bool_], affine: Affine) -> list[tuple[float, float, float]]:
    """Centroids in RAS mm of the connected components of a mask (i, j, k), by the places of their first voxels."""
    labels, count = labelled(mask)
    centres = ndimage.center_of_mass(mask, labels, range(1, count + 1))
    points = index_to_mm(affine, np.reshape(np.asarray(centres, dtype=np.float64), (-1, 3)))
    return [(float(x), float(y), float(z)) for x, y, z in points]


def _nodules(labels: list[_Labelled]) -> list[Nodule]:
    found = [(part.name, place) for part in labels for place in component_centroids(part.mask, part.affine)]
    names = distinct_names(name for name, _ in found)
    return [Nodule(name, place) for name, (_, place) in zip(names, found, strict=True)]


def _labels(path: Path, transform: NiftiTransform) -> list[list[_Labelled]]:
    """The labels of every layer of a file."""
    layers = []
    for layer in read_segments(path, transform):
        if not layer.array.any():
            continue
        inside = _bounding_box(layer.array)
        values, wrong = whole_values(layer.array[inside])
        ends = [wrong] if wrong is not None else [float(np.min(values)), float(np.max(values))]
        strange = next((end for end in ends if wrong is not None or not 0 <= end <= _LARGEST_LABEL), None)
        if strange is not None:
            raise DataError(
                f"nodule list {path} must hold whole numbers from 0 to {_LARGEST_LABEL}, as a label map does, "
                f"got {strange:g}"
            )
        affine = translated(layer.affine, (inside[0].start, inside[1].start, inside[2].start))
        layers.append(_of_layer(values.astype(np.int32), affine, layer.names))
    return layers


def _bounding_box(array: NDArray[np.generic]) -> tuple[slice, slice, slice]:
    """Of the voxels that are not 0, usually few; there must be one."""
    sides = []
    for axis in range(3):
        used = np.flatnonzero(array.any(axis=tuple(other for other in range(3) if other != axis)))
        sides.append(slice(int(used[0]), int(used[-1]) + 1))
    return sides[0], sides[1], sides[2]


def _of_layer(labels: NDArray[np.int32], affine: Affine, names: dict[int, str]) -> list[_Labelled]:
    boxes = [(number, box) for number, box in enumerate(ndimage.find_objects(labels), start=1) if box is not None]
    parts = []
    for number, box in boxes:
        name = names.get(number) or ("" if len(boxes) == 1 else str(number))
        start = (box[0].start, box[1].start, box[2].start)
        parts.append(_Labelled(name, np.asarray(labels[box] == number), translated(affine, start)))
    return parts
