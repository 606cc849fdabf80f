"""DICOM segmentations (SEG), laid on the grid of the image they were drawn on.

A SEG stores the frames that hold something, each with its place in LPS millimetres; the frames need not be all slices
of the image, nor in its order. Of the three types, BINARY and FRACTIONAL have a frame for every segment, LABELMAP has
the numbers of segments as its pixels. A fraction counts from one half of the largest upwards.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pydicom
from numpy.typing import NDArray

from mose_med.errors import DataError, GeometryError
from mose_med.geometry import LPS_TO_RAS, Affine, mm_to_index, spacing_mm
from mose_med.io.dicom.element_values import direction_cosines
from mose_med.io.dicom.files import DicomFile
from mose_med.io.dicom.objects.object_files import read_object
from mose_med.io.dicom.pixels import stored_values

__all__ = ["SEGMENTATION_CLASSES", "SegmentFrame", "read_segmentation", "segment_frames", "segment_labels"]

#: How far a pixel may lie from the voxel it is laid on, in voxels.
_TOLERANCE = 0.1
_TYPES = {
    "1.2.840.10008.5.1.4.1.1.66.4": ("BINARY", "FRACTIONAL"),
    "1.2.840.10008.5.1.4.1.1.66.7": ("LABELMAP",),
}
_LARGEST_NUMBER = 255
SEGMENTATION_CLASSES = tuple(_TYPES)


class SegmentFrame(NamedTuple):
    """A frame that holds something.

    Attributes:
        numbers: of segments, (row, column), 0 where there is none.
        affine: of its (column, row), and one mm along the normal: RAS mm.
        step_mm: how far from it the next frame is at most; None if the object does not say.
    """

    numbers: NDArray[np.integer]
    affine: Affine
    step_mm: float | None


def read_segmentation(path: Path, shape: tuple[int, ...], affine: Affine) -> NDArray[np.uint8]:
    """Segment numbers on the grid of an image, 0 where there is no segment.

    Args:
        path: of a SEG of any type.
        shape: of the image, (i, j, k).
        affine: of the image, RAS mm.

    Raises:
        DataError: if the file is missing, damaged, no SEG, two of its segments overlap, or one has a number above 255.
        GeometryError: if a frame does not lie on the image's grid.
    """
    labels = np.zeros(shape, dtype=np.uint8)
    for frame in segment_frames(read_object(path), path):
        rows, cols = np.nonzero(frame.numbers)
        pixels = np.stack([cols, rows, np.zeros_like(cols)], axis=1)
        voxels = _voxels(pixels, frame.affine, affine, shape, path)
        _lay(labels, voxels, frame.numbers[rows, cols], path)
    return labels


def segment_frames(dataset: pydicom.Dataset, path: Path) -> Iterator[SegmentFrame]:
    """The frames of a SEG that hold something, in its order.

    Raises:
        DataError: if the object is not a SEG, or a frame has no segment or position.
    """
    _require_segmentation(dataset, path)
    frames = _frames(dataset, DicomFile(str(path), lambda: path.open("rb")))
    for frame, groups in zip(frames, dataset.PerFrameFunctionalGroupsSequence, strict=True):
        if frame.any():
            macro = _macros(dataset, groups, path)
            numbers = frame if dataset.SegmentationType == "LABELMAP" else np.where(frame, _segment(macro, path), 0)
            yield SegmentFrame(numbers, _affine(macro, path), _step_mm(macro))


def segment_labels(dataset: pydicom.Dataset) -> dict[int, str]:
    """Labels of the segments, by number; those without one are left out."""
    items = dataset.get("SegmentSequence") or ()
    return {int(item.SegmentNumber): str(item.get("SegmentLabel") or "") for item in items if "SegmentNumber" in item}


def _step_mm(macro: Callable[[str], pydicom.Dataset]) -> float | None:
    measures = macro("PixelMeasuresSequence")
    stated = measures.get("SpacingBetweenSlices") or measures.get("SliceThickness")
    return float(stated) if stated else None


def _lay(labels: NDArray[np.uint8], voxels: NDArray[np.intp], numbers: NDArray[np.integer], path: Path) -> None:
    """Write segment numbers (n,) at voxels (n, 3)."""
    if numbers.max() > _LARGEST_NUMBER:
        raise DataError(f"{path}: segment numbers must be <= {_LARGEST_NUMBER}, got {numbers.max()}")
    place = tuple(voxels.T)
    taken = labels[place]
    overlap = (taken != 0) & (taken != numbers)
    if overlap.any():
        one, other = taken[overlap][0], numbers[overlap][0]
        raise DataError(f"{path}: segments {one} and {other} overlap: a voxel must have one class")
    labels[place] = numbers


def _require_segmentation(dataset: pydicom.Dataset, path: Path) -> None:
    sop_class, kind = dataset.get("SOPClassUID", "none"), dataset.get("SegmentationType", "none")
    if sop_class not in _TYPES:
        raise DataError(f"{path} must be a DICOM segmentation, got SOP class {sop_class}")
    if kind not in _TYPES[sop_class]:
        raise DataError(f"{path} must be of SegmentationType {' or '.join(_TYPES[sop_class])}, got {kind}")


def _frames(dataset: pydicom.Dataset, file: DicomFile) -> NDArray[np.integer]:
    """Frames (n, row, col): 0 outside; inside, the segments' numbers of a LABELMAP, and 1 of the other types."""
    pixels = stored_values(file, dataset)
    frames = pixels[None] if pixels.ndim == 2 else pixels
    if len(frames) != len(dataset.get("PerFrameFunctionalGroupsSequence", ())):
        raise DataError(f"{file.name} must give the position of each of its {len(frames)} frames")
    if dataset.SegmentationType == "LABELMAP":
        return np.asarray(np.where(frames == dataset.get("PixelPaddingValue", 0), 0, frames))
    if dataset.SegmentationType == "BINARY":
        return frames
    largest = dataset.get("MaximumFractionalValue")
    if not largest:
        raise DataError(
            f"{file.name} has no usable MaximumFractionalValue, half of which is the threshold of a segment"
        )
    return np.asarray(frames >= largest / 2, dtype=np.uint8)


def _macros(dataset: pydicom.Dataset, groups: pydicom.Dataset, path: Path) -> Callable[[str], pydicom.Dataset]:
    """Looks up attributes of one frame, or those shared by all frames."""
    shared = dataset.get("SharedFunctionalGroupsSequence") or [pydicom.Dataset()]

    def macro(name: str) -> pydicom.Dataset:
        found = groups.get(name) or shared[0].get(name)
        if not found:
            raise DataError(f"{path} has a frame without {name}")
        item: pydicom.Dataset = found[0]
        return item

    return macro


def _segment(macro: Callable[[str], pydicom.Dataset], path: Path) -> int:
    try:
        return int(macro("SegmentIdentificationSequence").ReferencedSegmentNumber)
    except (AttributeError, TypeError, ValueError) as error:
        raise DataError(f"{path} has a frame without a usable ReferencedSegmentNumber: {error}") from error


def _affine(macro: Callable[[str], pydicom.Dataset], path: Path) -> Affine:
    """RAS-mm affine of a frame's (col, row)."""
    try:
        stated = direction_cosines(macro("PlaneOrientationSequence").ImageOrientationPatient)
        cosines = np.reshape(np.asarray(stated, dtype=float), (2, 3))
        row_mm, col_mm = (float(mm) for mm in macro("PixelMeasuresSequence").PixelSpacing)
        position = np.asarray(macro("PlanePositionSequence").ImagePositionPatient, dtype=float)
    except (AttributeError, TypeError, ValueError) as error:
        raise DataError(f"{path} has a frame without a usable position: {error}") from error
    affine = np.eye(4)
    affine[:3, 0], affine[:3, 1] = cosines[0] * col_mm, cosines[1] * row_mm
    affine[:3, 2], affine[:3, 3] = np.cross(*cosines), position
    return LPS_TO_RAS @ affine


def _pixel_difference(to_mm: Affine, affine: Affine) -> str:
    """How the pixels of a frame differ from the voxels of the image."""
    pixel_mm, voxel_mm = np.linalg.norm(to_mm[:3, :2], axis=0), spacing_mm(affine)
    cosines = np.abs((to_mm[:3, :2] / pixel_mm).T @ (affine[:3, :3] / voxel_mm)).max(axis=1)
    turned = np.degrees(np.arccos(np.clip(cosines.min(), -1, 1)))
    ours, theirs = (" x ".join(f"{mm:.4g}" for mm in lengths) for lengths in (pixel_mm, voxel_mm))
    return f"they are {ours} mm, the image's voxels {theirs} mm; their axes are rotated by {turned:.1f} degrees"


def _voxels(
    pixels: NDArray[np.integer[Any]], to_mm: Affine, affine: Affine, shape: tuple[int, ...], path: Path
) -> NDArray[np.intp]:
    """Voxels (n, 3) of the image that pixels (n, 3) of a frame lie on."""
    steps = np.abs(np.linalg.solve(affine[:3, :3], to_mm[:3, :2]))
    if not np.allclose(np.sort(steps, axis=0), [[0, 0], [0, 0], [1, 1]], atol=_TOLERANCE / max(shape)):
        raise GeometryError(f"{path} must have the pixels of its image: {_pixel_difference(to_mm, affine)}")
    exact = mm_to_index(affine, pixels @ to_mm[:3, :3].T + to_mm[:3, 3])
    voxels = np.rint(exact)
    apart = float(np.abs(exact - voxels).max())
    if apart > _TOLERANCE:
        raise GeometryError(f"{path} must lie on the grid of its image: a pixel is {apart:.2f} voxels off")
    if (voxels < 0).any() or (voxels >= shape).any():
        raise GeometryError(f"{path} must lie on the grid of its image: it extends past the edge")
    return voxels.astype(np.intp)
