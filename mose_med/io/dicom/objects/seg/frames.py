"""Frames of DICOM objects: highdicom makes them with one pixel each, then they get their pixels."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from io import SEEK_END, BytesIO
from typing import Any

import highdicom as hd
import numpy as np
from pydicom import Dataset

from mose_med.io.dicom.objects.common import CaseObjects

__all__ = ["frames_of", "one_pixel_frames", "one_pixel_images", "set_pixels"]


def one_pixel_frames(present: list[Collection[int]], objects: CaseObjects, **options: Any) -> hd.seg.Segmentation:
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


def set_pixels(segmentation: Dataset, values: BytesIO, objects: CaseObjects) -> None:
    """Give a segmentation of one-pixel frames its size and its pixels."""
    segmentation.Rows, segmentation.Columns = objects.source.header.Rows, objects.source.header.Columns
    if values.seek(0, SEEK_END) % 2:
        values.write(b"\0")
    segmentation.PixelData = values.getvalue()
