"""DICOM segmentations of a case, on the grid of the series it was inferred from.

*Binary.* Segments, in this order: ``Consensus``, the 0.5 mask of the marginal probability (``consensus.nii.gz``);
``Expert 1`` to ``Expert K``, the expert's mode: the 0.5 mask of its own mean foreground probability
(``expert-k_foreground_probability.nii.gz``); ``Lesion n``, the component of the marginal above the threshold of
lesions that is lesion n of the case, in the lesion's own region.
Segments may overlap. One without a voxel is left out, and the numbers of those after it move up.

*Fractional.* One segment, the marginal probability (``probability.nii.gz``) in steps of 1/255; its frames are
compressed without loss (RLE, which readers of DICOM know best). Frames of single bits cannot be.

Only frames that hold something are stored.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import highdicom as hd
import numpy as np
from numpy.typing import NDArray
from pydicom.uid import RLELossless

from mose_med.inferers import CaseDistribution, Lesion
from mose_med.io.dicom_objects import ABNORMALITY, LUNG, NODULE, CaseObjects, without_run_traces

__all__ = ["Segments", "binary_segmentation", "case_segments", "lesion_label", "probability_segmentation"]

_MODE_THRESHOLD = 0.5
_LEVELS = 255
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


def case_segments(distribution: CaseDistribution) -> Segments:
    """All segments of a case."""
    found: dict[str, _Slices] = {"Consensus": _above(distribution, "probability", _MODE_THRESHOLD)}
    for expert in range(1, distribution.num_experts + 1):
        name = f"expert-{expert}_foreground_probability"
        found[f"Expert {expert}"] = _above(distribution, name, _MODE_THRESHOLD)
    for lesion in distribution.lesions:
        found[lesion_label(lesion)] = _lesion(lesion, distribution)
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
        transfer_syntax_uid=RLELossless,
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


def _lesion(lesion: Lesion, distribution: CaseDistribution) -> _Slices:
    """The component of a lesion, in its own region."""
    if lesion.component is None:
        return {}
    (left, top, first), (right, bottom, _) = lesion.component.box
    columns, rows, _ = distribution.shape
    slices = {}
    for k, mask in enumerate(np.moveaxis(lesion.component.mask, 2, 0), start=first):
        if mask.any():
            slices[k] = np.zeros((rows, columns), dtype=bool)
            slices[k][top:bottom, left:right] = mask.T
    return slices
