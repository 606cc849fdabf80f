"""The segments of a case: their labels, and their masks slice by slice in little memory."""

from __future__ import annotations

import zlib
from collections.abc import Iterator, Mapping
from io import BytesIO
from itertools import islice
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from mose_med.case_contents.maps import class_marks, maps_of_kind, of_class
from mose_med.inferers import CaseDistribution, Lesion

__all__ = [
    "Segments",
    "Slices",
    "case_segments",
    "joined_bits",
    "lesion_label",
    "packed_mask",
    "planes_of",
    "segment_label",
    "separate_lesions",
    "unpacked_bytes",
]

_MODE_THRESHOLD = 0.5
#: Frames whose bits make whole bytes, whatever their size.
_FRAMES_OF_BYTES = 8
#: Masks (row, column) of the slices that have a voxel, by k, packed and compressed.
Slices = Mapping[int, bytes]


class Segments(NamedTuple):
    """Masks of a case.

    Attributes:
        slices: of every segment that has a voxel, by label: masks by k, as :func:`packed_mask` makes them.
        left_out: labels of the segments that have none.
    """

    slices: dict[str, Slices]
    left_out: list[str]

    def number(self, label: str) -> int | None:
        """Number of a segment in the object; None if it was left out."""
        return list(self.slices).index(label) + 1 if label in self.slices else None


def case_segments(distribution: CaseDistribution) -> Segments:
    """All segments of a case."""
    found: dict[str, Slices] = {}
    for mark in class_marks(distribution.classes):
        found[segment_label("Consensus", mark)] = _above(distribution, of_class("probability", mark), _MODE_THRESHOLD)
        means = maps_of_kind("foreground_probability", distribution.num_experts, [mark])
        for expert, name in enumerate(means, start=1):
            found[segment_label(f"Expert {expert}", mark)] = _above(distribution, name, _MODE_THRESHOLD)
    for lesion in distribution.lesions:
        found[lesion_label(lesion, distribution)] = _lesion(lesion, distribution)
    present = {label: slices for label, slices in found.items() if slices}
    return Segments(present, [label for label in found if label not in present])


def lesion_label(lesion: Lesion, distribution: CaseDistribution) -> str:
    """Label of a lesion's segment, and its tracking identifier."""
    return segment_label(f"Lesion {lesion.number}", distribution.mark(lesion.number))


def segment_label(what: str, mark: str) -> str:
    """Label of a segment of one of several classes."""
    return f"{what} {mark}" if mark else what


def packed_mask(mask: NDArray[np.bool_]) -> bytes:
    """A mask (row, column) in little memory."""
    return zlib.compress(np.packbits(mask, bitorder="little").tobytes(), level=1)


def separate_lesions(segments: Segments, distribution: CaseDistribution) -> tuple[dict[str, Slices], list[str]]:
    """Segments of lesions that share no voxel with an earlier one, by label; and the labels of the others."""
    taken: dict[int, NDArray[np.uint8]] = {}
    separate: dict[str, Slices] = {}
    overlapping = []
    for label in (lesion_label(lesion, distribution) for lesion in distribution.lesions):
        slices = segments.slices.get(label)
        if slices is None:
            continue
        bits = {k: unpacked_bytes(mask) for k, mask in slices.items()}
        if any((taken[k] & own).any() for k, own in bits.items() if k in taken):
            overlapping.append(label)
            continue
        separate[label] = slices
        taken |= {k: own | taken[k] if k in taken else own for k, own in bits.items()}
    return separate, overlapping


def unpacked_bytes(packed: bytes) -> NDArray[np.uint8]:
    """The bits of a packed mask, eight to a byte."""
    return np.frombuffer(zlib.decompress(packed), dtype=np.uint8)


def joined_bits(frames: Iterator[bytes], num_pixels: int) -> BytesIO:
    """Bits of packed masks, one frame after the other."""
    joined = BytesIO()
    while some := list(islice(frames, _FRAMES_OF_BYTES)):
        bits = [np.unpackbits(unpacked_bytes(frame), count=num_pixels, bitorder="little") for frame in some]
        joined.write(np.packbits(np.concatenate(bits), bitorder="little").tobytes())
    return joined


def planes_of(distribution: CaseDistribution, name: str) -> Iterator[tuple[int, NDArray[Any]]]:
    """Slices (row, column) of a map, with their k."""
    slabs = (np.moveaxis(slab, 2, 0) for slab in distribution.slabs(name))
    yield from enumerate(plane.T for slab in slabs for plane in slab)


def _above(distribution: CaseDistribution, name: str, threshold: float) -> Slices:
    masks = ((k, plane > threshold) for k, plane in planes_of(distribution, name))
    return {k: packed_mask(mask) for k, mask in masks if mask.any()}


def _lesion(lesion: Lesion, distribution: CaseDistribution) -> Slices:
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
