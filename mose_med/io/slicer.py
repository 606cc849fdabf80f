"""Segmentations of 3D Slicer (``.seg.nrrd``): cropped to what was drawn, in layers where segments overlap.

Slicer writes what segments there are into the header: the name of each, the layer it is in and its value there.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from mose_med.errors import DataError
from mose_med.geometry import Affine
from mose_med.io.nifti.images import warn_of_transforms
from mose_med.io.nifti.transforms import NiftiTransform
from mose_med.io.study import require_place
from mose_med.io.volumes import Volume, read_itk, read_volume

__all__ = ["LAYERED_SUFFIXES", "Layer", "read_drawn", "read_segments"]

#: Of files that may hold several segments, with their names.
LAYERED_SUFFIXES = (".nrrd", ".nhdr")
_FIELD = re.compile(r"Segment(\d+)_(Name|LabelValue|Layer)")
_SLICERS = re.compile(r"Segment(\d+|ation)_")


class _Segment(NamedTuple):
    """The name of a segment and its voxels: those of one value in a layer."""

    name: str
    value: int
    layer: int


class Layer(NamedTuple):
    """Values (i, j, k) of one layer of a mask, their RAS-mm affine, and the names of values, where they have some."""

    array: NDArray[np.generic]
    affine: Affine
    names: dict[int, str]


def read_segments(path: Path, transform: NiftiTransform = "auto") -> list[Layer]:
    """All layers of a drawn mask with a place of its own, in any format; files that are not of Slicer have one.

    Args:
        path: of the mask.
        transform: of a NIfTI file, which of its transforms to take, as for :func:`~mose_med.io.read_ct`.

    Raises:
        DataError: if it cannot be read.
        GeometryError: if its affine is not invertible, or its header does not say where it lies.
    """
    if path.suffix.lower() not in LAYERED_SUFFIXES:
        volume = read_volume(path, transform)
        require_place(str(path), volume.no_place)
        if volume.transforms is not None:
            shape = volume.array.shape
            warn_of_transforms(volume.transforms, volume.affine, shape, transform, "the label map")
        return [Layer(volume.array, volume.affine, {})]
    content = read_itk(path)
    require_place(str(path), content.no_place)
    segments = _segments(content.metadata)
    return [
        Layer(
            content.array[..., number],
            content.affine,
            {segment.value: segment.name for segment in segments if segment.layer == number},
        )
        for number in range(content.array.shape[3])
    ]


def read_drawn(
    path: Path, layer: str | None = None, *, union: bool = False, transform: NiftiTransform = "auto"
) -> Volume:
    """Read a drawn mask in any format.

    Args:
        path: of the mask.
        layer: of a file of Slicer, the name of the segment or the number of the layer (from 0) to read; other files
            have one layer.
        union: take all layers together, where a voxel is of the mask if it is in any.
        transform: of a NIfTI file, which of its transforms to take.

    Returns:
        The mask; ``cropped`` if it is of Slicer, and so may be smaller than its image. A chosen segment is 1.

    Raises:
        DataError: if it cannot be read, has several layers of which none is named, or lacks the one that is.
        GeometryError: if its affine is not invertible.
    """
    if path.suffix.lower() not in LAYERED_SUFFIXES:
        return read_volume(path, transform)
    content = read_itk(path)
    segments = _segments(content.metadata)
    of_slicer = any(_SLICERS.match(key) for key in content.metadata) or ".seg." in path.name.lower()
    layers = content.array.shape[3]
    if union:
        array = np.any(content.array, axis=3) if layers > 1 else content.array[..., 0]
    elif layer is not None and (of_slicer or layers > 1):
        array = _chosen(path, content.array, segments, layer)
    elif layers > 1:
        raise DataError(f"{path} has {layers} layers of segments: name one with --layer, {_known(segments, layers)}")
    else:
        array = content.array[..., 0]
    return Volume(array, content.affine, cropped=of_slicer or layers > 1)


def _segments(metadata: Mapping[str, str]) -> list[_Segment]:
    fields: dict[str, dict[str, str]] = {}
    for key, value in metadata.items():
        match = _FIELD.fullmatch(key)
        if match:
            fields.setdefault(match[1], {})[match[2]] = value.strip()
    return [
        _Segment(found.get("Name", ""), _whole(found.get("LabelValue"), 1), _whole(found.get("Layer"), 0))
        for _, found in sorted(fields.items(), key=lambda item: int(item[0]))
    ]


def _whole(text: str | None, otherwise: int) -> int:
    return int(text) if text is not None and text.isdigit() else otherwise


def _chosen(path: Path, array: NDArray[np.generic], segments: list[_Segment], layer: str) -> NDArray[np.generic]:
    layers = array.shape[3]
    named = [segment for segment in segments if segment.name.lower() == layer.lower() and segment.layer < layers]
    if len(named) > 1:
        raise DataError(f"{path} has {len(named)} segments named {layer}: name each once")
    if named:
        return np.asarray(array[..., named[0].layer] == named[0].value).astype(np.uint8)
    if layer.isdigit() and int(layer) < layers:
        return array[..., int(layer)]
    if not np.any(array):
        return array[..., 0]
    raise DataError(f"{path} has no segment or layer {layer!r}: name one with --layer, {_known(segments, layers)}")


def _known(segments: list[_Segment], layers: int) -> str:
    numbers = f"a layer from 0 to {layers - 1}"
    names = ", ".join(segment.name for segment in segments if segment.name)
    return f"{names} or {numbers}" if names else numbers
