"""Segmentations that are made frame by frame hold what highdicom makes of whole arrays, in little memory."""

from __future__ import annotations

import io
import tracemalloc
from collections.abc import Callable
from pathlib import Path

import highdicom as hd
import numpy as np
import pytest
from pydicom import Dataset
from pydicom.dataset import FileMetaDataset

from mose_med.io.dicom.files import without_remarks
from mose_med.io.dicom.objects.common import CaseObjects, without_run_traces
from mose_med.io.dicom.objects.seg import writing as writer
from mose_med.io.dicom.objects.seg.segments import Segments, packed_mask
from mose_med.io.dicom.source import SourceSeries, read_source_series
from tests.fixtures.dicom_case import MODEL

Masks = dict[str, dict[int, np.ndarray]]


def encoded(dataset: Dataset) -> bytes:
    stream = io.BytesIO()
    dataset.save_as(stream, enforce_file_format=True)
    return stream.getvalue()


def made_of_a_whole_array(masks: Masks, objects: CaseObjects) -> hd.seg.Segmentation:
    indices = sorted({k for slices in masks.values() for k in slices})
    first = next(iter(masks.values()))
    pixels = np.zeros((len(indices), *next(iter(first.values())).shape, len(masks)), dtype=np.uint8)
    for channel, slices in enumerate(masks.values()):
        for k, mask in slices.items():
            pixels[indices.index(k), :, :, channel] = mask
    segmentation = hd.seg.Segmentation(
        source_images=objects.source.images(indices),
        pixel_array=pixels,
        segmentation_type=hd.seg.SegmentationTypeValues.BINARY,
        segment_descriptions=[writer._description(label, n, objects) for n, label in enumerate(masks, start=1)],
        series_description="MoSE segmentations",
        content_label="MOSE_SEGMENTS",
        **objects.header("segmentation"),
    )
    without_run_traces(segmentation, objects.uid("segmentation dimensions"))
    return segmentation


@pytest.mark.parametrize("shape", [(7, 9), (8, 8), (5, 3)])
def test_the_bytes_are_those_of_a_whole_array(tmp_path: Path, write_ct_series: Callable[..., list[Path]], shape):
    write_ct_series(tmp_path, np.zeros((12, *shape)))
    objects = CaseObjects(read_source_series(tmp_path), MODEL, "request")
    rng = np.random.default_rng(0)
    slices = {"Consensus": range(11), "Expert 1": (2, 5, 11), "Lesion 1": (5,)}
    masks = {label: {k: rng.random(shape) < 0.6 for k in found} for label, found in slices.items()}
    for mask in (mask for found in masks.values() for mask in found.values()):
        mask[0, 0] = True
    packed = {label: {k: packed_mask(mask) for k, mask in found.items()} for label, found in masks.items()}
    with without_remarks():
        made = encoded(writer.binary_segmentation(Segments(packed, []), objects))
        # highdicom pads with a character where the standard wants a zero.
        assert made[:-1] == encoded(made_of_a_whole_array(masks, objects))[:-1]
    assert objects.source.header.Rows == shape[0]


def many_slices(source: SourceSeries, number: int, size: int) -> SourceSeries:
    """The first slice of a series again and again, at other places and of another size."""
    slices = []
    for k in range(number):
        dataset = Dataset()
        for element in source.slices[0]:
            setattr(dataset, element.keyword, element.value)
        dataset.SOPInstanceUID = f"1.2.3.{k + 1}"
        dataset.ImagePositionPatient = [0, 0, k]
        dataset.Rows = dataset.Columns = size
        slices.append(dataset)
    header = Dataset()
    header.update(source.header)
    header.file_meta = FileMetaDataset()
    header.Rows = header.Columns = size
    return SourceSeries(header, tuple(slices), source.affine)


@pytest.mark.slow
def test_many_segments_on_many_slices_take_less_than_1_gb(tmp_path: Path, write_ct_series: Callable[..., list[Path]]):
    write_ct_series(tmp_path, np.zeros((3, 4, 4)))
    objects = CaseObjects(many_slices(read_source_series(tmp_path), 400, 512), MODEL, "request")
    mask = np.zeros((512, 512), dtype=bool)
    mask[100:200, 100:200] = True
    found = {"Consensus": range(400)} | {f"Expert {n}": range(400) for n in range(1, 5)}
    found |= {f"Lesion {n}": range(10 * n, 10 * n + 10) for n in range(40)}
    packed = {label: dict.fromkeys(slices, packed_mask(mask)) for label, slices in found.items()}
    tracemalloc.start()
    with without_remarks():
        segmentation = writer.binary_segmentation(Segments(packed, []), objects)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert segmentation.NumberOfFrames == 2400
    assert peak < 3e8
