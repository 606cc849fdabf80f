"""DICOM segmentations of a case, on the grid of the series it was inferred from.

*Binary.* Segments, in this order: ``Consensus``, the 0.5 mask of the marginal probability (``consensus.nii.gz``);
``Expert 1`` to ``Expert K``, the expert's mode: the 0.5 mask of its own mean foreground probability
(``expert-k_foreground_probability.nii.gz``); ``Lesion n``, the component of the marginal above the threshold of
lesions that is lesion n of the case, in the lesion's own region. Of several foreground classes each has its own
``Consensus vessel`` and ``Expert 1 vessel``, and a lesion that of its class: ``Lesion 3 vessel``.
Segments may overlap. One without a voxel is left out, and the numbers of those after it move up.

*Fractional.* One segment for each foreground class, its marginal probability (``probability.nii.gz``) in steps of
1/255; its frames are compressed without loss (RLE, which readers of DICOM know best). Frames of single bits cannot be.

*Labelmap.* Segments are the lesions, and the value of a voxel is the number of its segment. A voxel has one value, so
that a lesion that shares a voxel with an earlier one is left out. Frames are compressed as those of the fractional one.

Only frames that hold something are stored. Neither the masks nor the frames are ever in memory as whole volumes:
highdicom is given frames of one pixel, from which it makes everything but the pixels.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from io import BytesIO

import highdicom as hd
import numpy as np
from pydicom.uid import RLELossless

from mose_med.case_contents.maps import class_marks, of_class
from mose_med.inferers import CaseDistribution
from mose_med.io.dicom.objects.common import ABNORMALITY, LUNG, CaseObjects, without_run_traces
from mose_med.io.dicom.objects.seg.frames import frames_of, one_pixel_frames, one_pixel_images, set_pixels
from mose_med.io.dicom.objects.seg.segments import (
    Segments,
    Slices,
    joined_bits,
    planes_of,
    segment_label,
    unpacked_bytes,
)

__all__ = ["binary_frames", "binary_segmentation", "labelmap_segmentation", "probability_segmentation"]

_LEVELS = 255


def binary_segmentation(segments: Segments, objects: CaseObjects) -> hd.seg.Segmentation:
    """Segmentation of type BINARY; at least one segment must have a voxel."""
    segmentation = binary_frames({label: list(slices) for label, slices in segments.slices.items()}, objects)
    masks = list(segments.slices.values())
    frames = (masks[number - 1][k] for number, k in frames_of(segmentation, objects))
    set_pixels(segmentation, joined_bits(frames, objects.source.header.Rows * objects.source.header.Columns), objects)
    return segmentation


def binary_frames(present: Mapping[str, Collection[int]], objects: CaseObjects) -> hd.seg.Segmentation:
    """The same with frames of one pixel, on the slices that each segment has."""
    segmentation = one_pixel_frames(
        list(present.values()),
        objects,
        segmentation_type=hd.seg.SegmentationTypeValues.BINARY,
        segment_descriptions=[_description(label, n, objects) for n, label in enumerate(present, start=1)],
        series_description="MoSE segmentations",
        content_label="MOSE_SEGMENTS",
        **objects.header("segmentation"),
    )
    without_run_traces(segmentation, objects.uid("segmentation dimensions"))
    return segmentation


def probability_segmentation(distribution: CaseDistribution, objects: CaseObjects) -> hd.seg.Segmentation | None:
    """Segmentation of type FRACTIONAL, PROBABILITY; None if no voxel reaches the first of its steps."""
    found = {
        segment_label("Marginal probability", mark): _steps(distribution, mark)
        for mark in class_marks(distribution.classes)
    }
    planes = {label: of_one for label, of_one in found.items() if of_one}
    if not planes:
        return None
    segmentation = one_pixel_frames(
        list(planes.values()),
        objects,
        segmentation_type=hd.seg.SegmentationTypeValues.FRACTIONAL,
        fractional_type=hd.seg.SegmentationFractionalTypeValues.PROBABILITY,
        max_fractional_value=_LEVELS,
        segment_descriptions=[_description(label, n, objects) for n, label in enumerate(planes, start=1)],
        series_description="MoSE probability",
        content_label="MOSE_PROBABILITY",
        **objects.header("probability"),
    )
    of_segments = list(planes.values())
    frames = (of_segments[number - 1][k] for number, k in frames_of(segmentation, objects))
    set_pixels(segmentation, BytesIO(b"".join(frames)), objects)
    segmentation.compress(RLELossless, encoding_plugin="pydicom", generate_instance_uid=False)
    without_run_traces(segmentation, objects.uid("probability dimensions"))
    return segmentation


def _steps(distribution: CaseDistribution, mark: str) -> dict[int, bytes]:
    """Marginal probability of a class in steps of 1/255, of the slices that have some."""
    planes = planes_of(distribution, of_class("probability", mark))
    steps = ((k, np.rint(plane * _LEVELS).astype(np.uint8)) for k, plane in planes)
    return {k: plane.tobytes() for k, plane in steps if plane.any()}


def labelmap_segmentation(lesions: Mapping[str, Slices], objects: CaseObjects) -> hd.seg.Segmentation:
    """Segmentation of type LABELMAP of lesions that share no voxel; there must be at least one."""
    indices = sorted({k for slices in lesions.values() for k in slices})
    segmentation = hd.seg.Segmentation(
        source_images=one_pixel_images(objects, indices),
        pixel_array=np.ones((len(indices), 1, 1), dtype=np.uint16 if len(lesions) > _LEVELS else np.uint8),
        segmentation_type=hd.seg.SegmentationTypeValues.LABELMAP,
        segment_descriptions=[_description(label, n, objects) for n, label in enumerate(lesions, start=1)],
        series_description="MoSE lesions",
        content_label="MOSE_LESIONS",
        **objects.header("labelmap"),
    )
    shape = (objects.source.header.Rows, objects.source.header.Columns)
    dtype = np.dtype(f"<u{segmentation.BitsAllocated // 8}")
    pixels = BytesIO()
    for _, k in frames_of(segmentation, objects):
        frame = np.zeros(shape[0] * shape[1], dtype=dtype)
        for number, slices in enumerate(lesions.values(), start=1):
            if k in slices:
                frame[np.unpackbits(unpacked_bytes(slices[k]), count=frame.size, bitorder="little") == 1] = number
        pixels.write(frame.tobytes())
    set_pixels(segmentation, pixels, objects)
    segmentation.compress(RLELossless, encoding_plugin="pydicom", generate_instance_uid=False)
    without_run_traces(segmentation, objects.uid("labelmap dimensions"))
    return segmentation


def _description(label: str, number: int, objects: CaseObjects) -> hd.seg.SegmentDescription:
    return hd.seg.SegmentDescription(
        segment_number=number,
        segment_label=label,
        segmented_property_category=ABNORMALITY,
        segmented_property_type=objects.finding,
        algorithm_type=hd.seg.SegmentAlgorithmTypeValues.AUTOMATIC,
        algorithm_identification=objects.algorithm(),
        tracking_uid=objects.uid(label),
        tracking_id=label,
        anatomic_regions=[LUNG],
    )
