"""The DICOM objects of one inferred case, of the requested kinds; each is a file."""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryFile
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.typing import NDArray
from pydicom import Dataset

from mose_med.case_contents.dicom_kinds import SEG_KINDS
from mose_med.case_contents.maps import class_marks, of_class
from mose_med.inferers import CaseDistribution
from mose_med.io.dicom.files import silenced, without_remarks
from mose_med.io.dicom.objects.saving import save_object
from mose_med.io.dicom.source import ModelIdentity, ObstacleError, SourceSeries, require_highdicom

__all__ = ["PROBABILITY_NAME", "REPORT_NAME", "SEGMENTATION_NAME", "WrittenObjects", "write_dicom_case"]

if TYPE_CHECKING:
    from mose_med.io.dicom.objects.common import CaseObjects
    from mose_med.io.dicom.objects.seg.segments import Segments

SEGMENTATION_NAME = "seg.dcm"
PROBABILITY_NAME = "probability_seg.dcm"
REPORT_NAME = "report_sr.dcm"
LABELMAP_NAME = "labelmap_seg.dcm"
STRUCTURES_NAME = "rtstruct.dcm"
#: RGB (row, column, 3) of lesions, by number.
Pictures = Mapping[int, NDArray[np.uint8]]
_LOGGER = logging.getLogger(__name__)


class WrittenObjects(NamedTuple):
    """What was written.

    Attributes:
        files: names of the objects in the folder.
        segments: labels of the segments of ``seg.dcm``, by their numbers.
        empty_segments: labels of the segments that have no voxel and were left out.
        overlapping_lesions: labels of the lesions that are not in ``labelmap_seg.dcm``, since an earlier one has some
            of their voxels.
    """

    files: list[str]
    segments: list[str]
    empty_segments: list[str]
    overlapping_lesions: list[str]


def write_dicom_case(
    folder: Path,
    distribution: CaseDistribution,
    *,
    source: SourceSeries,
    model: ModelIdentity,
    request: str,
    kinds: Collection[str] = SEG_KINDS,
    pictures: Callable[[], Pictures] = dict,
) -> WrittenObjects:
    """Write the objects of a case into an existing folder.

    An object without content is not written: no segmentation where nothing is segmented, no report without lesions.
    A report refers to the segments if they are requested too.

    Args:
        folder: of the case.
        distribution: of the case, on the grid of the series.
        source: series that it was inferred from.
        model: that it was made by.
        request: text of everything that decides the result; UIDs follow from it.
        kinds: of objects to write; see :mod:`mose_med.case_contents.dicom_kinds`.
        pictures: gives the pictures of lesions, if they are requested.

    Raises:
        MissingDependencyError: if the extra ``dicom`` is not installed.
        GeometryError: if the distribution does not lie on the grid of the series.
        DataError: if no DICOM objects can be made from the headers of the series.
    """
    require_highdicom()
    from mose_med.io.dicom.objects.common import ABNORMALITY, NODULE, CaseObjects
    from mose_med.io.dicom.objects.seg.segments import case_segments, separate_lesions

    source.require_grid(distribution.shape, distribution.affine)
    objects = CaseObjects(source, model, request, NODULE if len(distribution.classes) == 1 else ABNORMALITY)
    segments = case_segments(distribution)
    overlapping = separate_lesions(segments, distribution)[1] if "labelmap" in kinds else []
    written = []
    with _faults_of_headers():
        for name, dataset in _objects(distribution, segments, objects, kinds, pictures):
            if dataset is not None:
                save_object(dataset, folder / name)
                written.append(name)
    if overlapping:
        _LOGGER.warning("%s has no %s, which overlap earlier ones", LABELMAP_NAME, ", ".join(overlapping))
    if segments.left_out:
        _LOGGER.info("empty segments were left out: %s", ", ".join(segments.left_out))
    if distribution.lesions and "seg" in kinds:
        _LOGGER.info("%s", _lesions_in_words(distribution, segments.left_out))
    return WrittenObjects(written, list(segments.slices), segments.left_out, overlapping)


def _objects(
    distribution: CaseDistribution,
    segments: Segments,
    objects: CaseObjects,
    kinds: Collection[str],
    pictures: Callable[[], Pictures],
) -> Iterator[tuple[str, Dataset | None]]:
    """Name and content of every requested object, one at a time; no content where there is none."""
    yield from _segmentations(distribution, segments, objects, kinds)
    if "parametric-map" in kinds:
        yield from _parametric_maps(distribution, objects)
    if "rtstruct" in kinds:
        from mose_med.io.dicom.objects.rtstruct.writing import structure_set

        yield STRUCTURES_NAME, structure_set(distribution, objects)
    if "pictures" in kinds:
        from mose_med.io.dicom.objects.pictures import lesion_picture

        lesions = {lesion.number: lesion for lesion in distribution.lesions}
        for number, pixels in pictures().items():
            yield f"lesion-{number}_picture.dcm", lesion_picture(pixels, lesions[number], distribution, objects)


def _parametric_maps(distribution: CaseDistribution, objects: CaseObjects) -> Iterator[tuple[str, Dataset | None]]:
    """Two maps of every foreground class."""
    from mose_med.io.dicom.objects.parametric_map import MAP_PURPOSES, parametric_map

    for purpose in MAP_PURPOSES:
        for index, mark in enumerate(class_marks(distribution.classes)):
            name = f"{of_class(purpose.replace(' ', '_'), mark)}.dcm"
            with TemporaryFile() as frames:
                yield name, parametric_map(distribution, objects, purpose, frames, index)


def _segmentations(
    distribution: CaseDistribution, segments: Segments, objects: CaseObjects, kinds: Collection[str]
) -> Iterator[tuple[str, Dataset | None]]:
    """Segmentations, and the report that refers to one of them."""
    from mose_med.io.dicom.objects.seg import writing
    from mose_med.io.dicom.objects.seg.segments import separate_lesions
    from mose_med.io.dicom.objects.sr import measurement_report

    binary = writing.binary_segmentation(segments, objects) if "seg" in kinds and segments.slices else None
    yield SEGMENTATION_NAME, binary
    if "fractional" in kinds:
        yield PROBABILITY_NAME, writing.probability_segmentation(distribution, objects)
    if "sr" in kinds and distribution.lesions:
        yield REPORT_NAME, measurement_report(distribution, segments, binary, objects)
    if "labelmap" in kinds:
        lesions, _ = separate_lesions(segments, distribution)
        yield LABELMAP_NAME, writing.labelmap_segmentation(lesions, objects) if lesions else None


def _lesions_in_words(distribution: CaseDistribution, left_out: list[str]) -> str:
    """How many lesions have a segment, and why others have none."""
    from mose_med.io.dicom.objects.seg.segments import lesion_label

    labels = [lesion_label(lesion, distribution) for lesion in distribution.lesions]
    without = [label for label in labels if label in left_out]
    words = f"{len(labels) - len(without)} of {len(labels)} lesions have a segment in {SEGMENTATION_NAME}"
    if not without:
        return words
    return (
        f"{words}; {', '.join(without)} have none, because no voxel has a marginal probability above the threshold "
        f"of lesions: only {REPORT_NAME} reports them"
    )


@contextmanager
def _faults_of_headers() -> Iterator[None]:
    """Say which kind of fault a header has; the message of a library may quote identifying tags, so it is not shown.

    The rehearsal finds faults of headers beforehand; this is the last resort.
    """
    try:
        with without_remarks(), silenced("highdicom"):
            yield
    except (KeyError, OverflowError, ValueError) as error:
        raise ObstacleError(
            "the series", f"has headers that DICOM objects cannot use ({type(error).__name__})"
        ) from error
