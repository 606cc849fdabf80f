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

import zlib
from collections.abc import Collection, Iterator, Mapping, Sequence
from io import SEEK_END, BytesIO
from itertools import islice
from typing import Any, NamedTuple

import highdicom as hd
import numpy as np
from numpy.typing import NDArray
from pydicom import Dataset
from pydicom.uid import RLELossless

from mose_med.case_contents.maps import class_marks, maps_of_kind, of_class
from mose_med.inferers import CaseDistribution, Lesion
from mose_med.io.dicom.objects.common import ABNORMALITY, LUNG, CaseObjects, without_run_traces

__all__ = [
    "Segments",
    "binary_frames",
    "binary_segmentation",
    "case_segments",
    "frames_of",
    "labelmap_segmentation",
    "lesion_label",
    "one_pixel_images",
    "packed_mask",
    "planes_of",
    "probability_segmentation",
    "separate_lesions",
]

_MODE_THRESHOLD = 0.5
_LEVELS = 255
#: Frames whose bits make whole bytes, whatever their size.
_FRAMES_OF_BYTES = 8
#: Masks (row, column) of the slices that have a voxel, by k, packed and compressed.
_Slices = Mapping[int, bytes]


class Segments(NamedTuple):
    """Masks of a case.

    Attributes:
        slices: of every segment that has a voxel, by label: masks by k, as :func:`packed_mask` makes them.
        left_out: labels of the segments that have none.
    """

    slices: dict[str, _Slices]
    left_out: list[str]

    def number(self, label: str) -> int | None:
        """Number of a segment in the object; None if it was left out."""
        return list(self.slices).index(label) + 1 if label in self.slices else None


def case_segments(distribution: CaseDistribution) -> Segments:
    """All segments of a case."""
    found: dict[str, _Slices] = {}
    for mark in class_marks(distribution.classes):
        found[_label("Consensus", mark)] = _above(distribution, of_class("probability", mark), _MODE_THRESHOLD)
        means = maps_of_kind("foreground_probability", distribution.num_experts, [mark])
        for expert, name in enumerate(means, start=1):
            found[_label(f"Expert {expert}", mark)] = _above(distribution, name, _MODE_THRESHOLD)
    for lesion in distribution.lesions:
        found[lesion_label(lesion, distribution)] = _lesion(lesion, distribution)
    present = {label: slices for label, slices in found.items() if slices}
    return Segments(present, [label for label in found if label not in present])


def lesion_label(lesion: Lesion, distribution: CaseDistribution) -> str:
    """Label of a lesion's segment, and its tracking identifier."""
    return _label(f"Lesion {lesion.number}", distribution.mark(lesion.number))


def _label(what: str, mark: str) -> str:
    return f"{what} {mark}" if mark else what


def packed_mask(mask: NDArray[np.bool_]) -> bytes:
    """A mask (row, column) in little memory."""
    return zlib.compress(np.packbits(mask, bitorder="little").tobytes(), level=1)


def binary_segmentation(segments: Segments, objects: CaseObjects) -> hd.seg.Segmentation:
    """Segmentation of type BINARY; at least one segment must have a voxel."""
    segmentation = binary_frames({label: list(slices) for label, slices in segments.slices.items()}, objects)
    masks = list(segments.slices.values())
    frames = (masks[number - 1][k] for number, k in frames_of(segmentation, objects))
    _set_pixels(segmentation, _joined_bits(frames, objects.source.header.Rows * objects.source.header.Columns), objects)
    return segmentation


def binary_frames(present: Mapping[str, Collection[int]], objects: CaseObjects) -> hd.seg.Segmentation:
    """The same with frames of one pixel, on the slices that each segment has."""
    segmentation = _one_pixel_frames(
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
        _label("Marginal probability", mark): _steps(distribution, mark) for mark in class_marks(distribution.classes)
    }
    planes = {label: of_one for label, of_one in found.items() if of_one}
    if not planes:
        return None
    segmentation = _one_pixel_frames(
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
    _set_pixels(segmentation, BytesIO(b"".join(frames)), objects)
    segmentation.compress(RLELossless, encoding_plugin="pydicom", generate_instance_uid=False)
    without_run_traces(segmentation, objects.uid("probability dimensions"))
    return segmentation


def _steps(distribution: CaseDistribution, mark: str) -> dict[int, bytes]:
    """Marginal probability of a class in steps of 1/255, of the slices that have some."""
    planes = planes_of(distribution, of_class("probability", mark))
    steps = ((k, np.rint(plane * _LEVELS).astype(np.uint8)) for k, plane in planes)
    return {k: plane.tobytes() for k, plane in steps if plane.any()}


def separate_lesions(segments: Segments, distribution: CaseDistribution) -> tuple[dict[str, _Slices], list[str]]:
    """Segments of lesions that share no voxel with an earlier one, by label; and the labels of the others."""
    taken: dict[int, NDArray[np.uint8]] = {}
    separate: dict[str, _Slices] = {}
    overlapping = []
    for label in (lesion_label(lesion, distribution) for lesion in distribution.lesions):
        slices = segments.slices.get(label)
        if slices is None:
            continue
        bits = {k: _bits(mask) for k, mask in slices.items()}
        if any((taken[k] & own).any() for k, own in bits.items() if k in taken):
            overlapping.append(label)
            continue
        separate[label] = slices
        taken |= {k: own | taken[k] if k in taken else own for k, own in bits.items()}
    return separate, overlapping


def labelmap_segmentation(lesions: Mapping[str, _Slices], objects: CaseObjects) -> hd.seg.Segmentation:
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
                frame[np.unpackbits(_bits(slices[k]), count=frame.size, bitorder="little") == 1] = number
        pixels.write(frame.tobytes())
    _set_pixels(segmentation, pixels, objects)
    segmentation.compress(RLELossless, encoding_plugin="pydicom", generate_instance_uid=False)
    without_run_traces(segmentation, objects.uid("labelmap dimensions"))
    return segmentation


def _bits(packed: bytes) -> NDArray[np.uint8]:
    return np.frombuffer(zlib.decompress(packed), dtype=np.uint8)


def _one_pixel_frames(present: list[Collection[int]], objects: CaseObjects, **options: Any) -> hd.seg.Segmentation:
    """A segmentation with a frame of one pixel for each slice of each segment."""
    indices = sorted({k for slices in present for k in slices})
    place = {k: n for n, k in enumerate(indices)}
    pixels = np.zeros((len(indices), 1, 1, len(present)), dtype=np.uint8)
    for channel, slices in enumerate(present):
        pixels[[place[k] for k in slices], :, :, channel] = 1
    return hd.seg.Segmentation(source_images=one_pixel_images(objects, indices), pixel_array=pixels, **options)


def one_pixel_images(objects: CaseObjects, indices: Sequence[int]) -> list[Dataset]:
    """Headers of slices that claim to have one pixel."""
    images = objects.source.images(indices)
    for image in images:
        # Elements are the series' own: they are replaced, not changed.
        del image.Rows, image.Columns
        image.Rows = image.Columns = 1
    return images


def frames_of(dataset: Dataset, objects: CaseObjects) -> Iterator[tuple[int, int]]:
    """Segment number and slice of every frame, in the order of the object."""
    of_instance = {image.SOPInstanceUID: k for k, image in enumerate(objects.source.slices)}
    for groups in dataset.PerFrameFunctionalGroupsSequence:
        # A single segment is among the attributes that the frames share.
        identification = groups.get("SegmentIdentificationSequence")
        number = identification[0].ReferencedSegmentNumber if identification else 1
        (source,) = groups.DerivationImageSequence[0].SourceImageSequence
        yield number, of_instance[source.ReferencedSOPInstanceUID]


def _joined_bits(frames: Iterator[bytes], num_pixels: int) -> BytesIO:
    """Bits of packed masks, one frame after the other."""
    joined = BytesIO()
    while some := list(islice(frames, _FRAMES_OF_BYTES)):
        bits = [np.unpackbits(_bits(frame), count=num_pixels, bitorder="little") for frame in some]
        joined.write(np.packbits(np.concatenate(bits), bitorder="little").tobytes())
    return joined


def _set_pixels(segmentation: Dataset, values: BytesIO, objects: CaseObjects) -> None:
    segmentation.Rows, segmentation.Columns = objects.source.header.Rows, objects.source.header.Columns
    if values.seek(0, SEEK_END) % 2:
        values.write(b"\0")
    segmentation.PixelData = values.getvalue()


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


def planes_of(distribution: CaseDistribution, name: str) -> Iterator[tuple[int, NDArray[Any]]]:
    """Slices (row, column) of a map, with their k."""
    slabs = (np.moveaxis(slab, 2, 0) for slab in distribution.slabs(name))
    yield from enumerate(plane.T for slab in slabs for plane in slab)


def _above(distribution: CaseDistribution, name: str, threshold: float) -> _Slices:
    masks = ((k, plane > threshold) for k, plane in planes_of(distribution, name))
    return {k: packed_mask(mask) for k, mask in masks if mask.any()}


def _lesion(lesion: Lesion, distribution: CaseDistribution) -> _Slices:
    """The component of a lesion, in its own region."""
    if lesion.component is None:
        return {}
    (left, top, first), (right, bottom, _) = lesion.component.box
    columns, rows, _ = distribution.shape
    slices = {}
    for k, mask in enumerate(np.moveaxis(lesion.component.mask, 2, 0), start=first):
        if mask.any():
            plane = np.zeros((rows, columns), dtype=bool)
            plane[top:bottom, left:right] = mask.T
            slices[k] = packed_mask(plane)
    return slices
