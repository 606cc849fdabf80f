"""DICOM segmentations of a case, on the grid of the series it was inferred from.

*Binary.* Segments, in this order: ``Consensus``, the 0.5 mask of the marginal probability (``consensus.nii.gz``);
``Expert 1`` to ``Expert K``, the expert's mode: the 0.5 mask of its own mean foreground probability
(``expert-k_foreground_probability.nii.gz``); ``Lesion n``, the component of the marginal above the threshold of
lesions that is lesion n of the case.
Segments may overlap. One without a voxel is left out, and the numbers of those after it move up.

*Fractional.* One segment, the marginal probability (``probability.nii.gz``) in steps of 1/255.

Only frames that hold something are stored.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import highdicom as hd
import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from mose_med.geometry import mm_to_index
from mose_med.inferers import Box, CaseDistribution, Lesion
from mose_med.io.dicom_objects import ABNORMALITY, LUNG, NODULE, CaseObjects, without_run_traces
from mose_med.lesion_rules import LESION_THRESHOLD

__all__ = ["Segments", "binary_segmentation", "case_segments", "lesion_label", "probability_segmentation"]

_MODE_THRESHOLD = 0.5
_LEVELS = 255
_NEIGHBOURS_26 = np.ones((3, 3, 3), dtype=bool)
#: Masks (row, column) of the slices that have a voxel, by k.
_Slices = Mapping[int, NDArray[np.bool_]]


class Segments(NamedTuple):
    """Masks of a case.

    Attributes:
        slices: of every segment that has a voxel, by label: masks (row, column) by k.
        left_out: labels of the segments that have none.
    """

    slices: dict[str, _Slices]
    left_out: list[str]

    def number(self, label: str) -> int | None:
        """Number of a segment in the object; None if it was left out."""
        return list(self.slices).index(label) + 1 if label in self.slices else None


def case_segments(distribution: CaseDistribution, lesion_threshold: float = LESION_THRESHOLD) -> Segments:
    """All segments of a case.

    Args:
        distribution: of the case.
        lesion_threshold: marginal probability above which voxels are of a lesion, as the case was inferred with.
    """
    found: dict[str, _Slices] = {"Consensus": _above(distribution, "probability", _MODE_THRESHOLD)}
    for expert in range(1, distribution.num_experts + 1):
        name = f"expert-{expert}_foreground_probability"
        found[f"Expert {expert}"] = _above(distribution, name, _MODE_THRESHOLD)
    lesional = _above(distribution, "probability", lesion_threshold)
    components = [part for region in distribution.regions for part in _components(lesional, region.box)]
    for lesion in distribution.lesions:
        found[lesion_label(lesion)] = _lesion(lesion, components, distribution)
    present = {label: slices for label, slices in found.items() if slices}
    return Segments(present, [label for label in found if label not in present])


def lesion_label(lesion: Lesion) -> str:
    """Label of a lesion's segment, and its tracking identifier."""
    return f"Lesion {lesion.number}"


def binary_segmentation(segments: Segments, objects: CaseObjects) -> hd.seg.Segmentation:
    """Segmentation of type BINARY; at least one segment must have a voxel."""
    indices = sorted({index for slices in segments.slices.values() for index in slices})
    header = objects.source.header
    pixels = np.zeros((len(indices), header.Rows, header.Columns, len(segments.slices)), dtype=np.uint8)
    for channel, slices in enumerate(segments.slices.values()):
        for index, mask in slices.items():
            pixels[indices.index(index), :, :, channel] = mask
    segmentation = hd.seg.Segmentation(
        source_images=objects.source.images(indices),
        pixel_array=pixels,
        segmentation_type=hd.seg.SegmentationTypeValues.BINARY,
        segment_descriptions=[_description(label, n, objects) for n, label in enumerate(segments.slices, start=1)],
        series_description="MoSE segmentations",
        content_label="MOSE_SEGMENTS",
        **objects.header("segmentation"),
    )
    without_run_traces(segmentation, objects.uid("segmentation dimensions"))
    return segmentation


def probability_segmentation(distribution: CaseDistribution, objects: CaseObjects) -> hd.seg.Segmentation | None:
    """Segmentation of type FRACTIONAL, PROBABILITY; None if no voxel reaches the first of its steps."""
    steps = ((k, np.rint(plane * _LEVELS)) for k, plane in _planes(distribution, "probability"))
    planes = {k: plane / np.float32(_LEVELS) for k, plane in steps if plane.any()}
    if not planes:
        return None
    segmentation = hd.seg.Segmentation(
        source_images=objects.source.images(list(planes)),
        pixel_array=np.stack(list(planes.values())),
        segmentation_type=hd.seg.SegmentationTypeValues.FRACTIONAL,
        fractional_type=hd.seg.SegmentationFractionalTypeValues.PROBABILITY,
        max_fractional_value=_LEVELS,
        segment_descriptions=[_description("Marginal probability", 1, objects)],
        series_description="MoSE probability",
        content_label="MOSE_PROBABILITY",
        **objects.header("probability"),
    )
    without_run_traces(segmentation, objects.uid("probability dimensions"))
    return segmentation


def _description(label: str, number: int, objects: CaseObjects) -> hd.seg.SegmentDescription:
    return hd.seg.SegmentDescription(
        segment_number=number,
        segment_label=label,
        segmented_property_category=ABNORMALITY,
        segmented_property_type=NODULE,
        algorithm_type=hd.seg.SegmentAlgorithmTypeValues.AUTOMATIC,
        algorithm_identification=objects.algorithm(),
        tracking_uid=objects.uid(label),
        tracking_id=label,
        anatomic_regions=[LUNG],
    )


def _planes(distribution: CaseDistribution, name: str) -> Iterator[tuple[int, NDArray[Any]]]:
    """Slices (row, column) of a map, with their k."""
    slabs = (np.moveaxis(slab, 2, 0) for slab in distribution.slabs(name))
    yield from enumerate(plane.T for slab in slabs for plane in slab)


def _above(distribution: CaseDistribution, name: str, threshold: float) -> _Slices:
    masks = ((k, plane > threshold) for k, plane in _planes(distribution, name))
    return {k: mask for k, mask in masks if mask.any()}


def _components(slices: _Slices, box: Box) -> Iterator[NDArray[np.intp]]:
    """Components (26 neighbours) of a mask in a box: their voxels (n, 3) on the input's grid."""
    inside = [k for k in slices if box.start[2] <= k < box.stop[2]]
    if not inside:
        return
    (left, top, _), (right, bottom, _) = box.start, box.stop
    first = min(inside)
    mask = np.zeros((max(inside) - first + 1, bottom - top, right - left), dtype=bool)
    for k in inside:
        mask[k - first] = slices[k][top:bottom, left:right]
    labels, _ = ndimage.label(mask, structure=_NEIGHBOURS_26)
    for number, part in enumerate(ndimage.find_objects(labels), start=1):
        start = np.add((first, top, left), [edge.start for edge in part])
        yield (np.argwhere(labels[part] == number) + start)[:, ::-1]


def _lesion(lesion: Lesion, components: list[NDArray[np.intp]], distribution: CaseDistribution) -> _Slices:
    """The component of a lesion, known by its centroid."""
    if lesion.centroid_mm is None:
        return {}
    centroid = mm_to_index(distribution.affine, np.asarray(lesion.centroid_mm))
    voxels = min(components, key=lambda part: float(np.linalg.norm(part.mean(axis=0) - centroid)))
    columns, rows, _ = distribution.shape
    slices = {}
    for k in np.unique(voxels[:, 2]).tolist():
        slices[k] = np.zeros((rows, columns), dtype=bool)
        i, j, _ = voxels[voxels[:, 2] == k].T
        slices[k][j, i] = True
    return slices
