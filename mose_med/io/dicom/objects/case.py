"""The DICOM objects of one inferred case: ``seg.dcm``, ``probability_seg.dcm`` and ``report_sr.dcm``."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from mose_med.inferers import CaseDistribution
from mose_med.io.dicom.files import silenced, without_remarks
from mose_med.io.dicom.source import ModelIdentity, ObstacleError, SourceSeries, require_highdicom

__all__ = ["PROBABILITY_NAME", "REPORT_NAME", "SEGMENTATION_NAME", "WrittenObjects", "write_dicom_case"]

SEGMENTATION_NAME = "seg.dcm"
PROBABILITY_NAME = "probability_seg.dcm"
REPORT_NAME = "report_sr.dcm"
_LOGGER = logging.getLogger(__name__)


class WrittenObjects(NamedTuple):
    """What was written.

    Attributes:
        files: names of the objects in the folder.
        segments: labels of the segments of ``seg.dcm``, by their numbers.
        empty_segments: labels of the segments that have no voxel and were left out.
    """

    files: list[str]
    segments: list[str]
    empty_segments: list[str]


def write_dicom_case(
    folder: Path,
    distribution: CaseDistribution,
    *,
    source: SourceSeries,
    model: ModelIdentity,
    request: str,
) -> WrittenObjects:
    """Write the objects of a case into an existing folder.

    An object without content is not written: no segmentation where nothing is segmented, no report without lesions.

    Args:
        folder: of the case.
        distribution: of the case, on the grid of the series.
        source: series that it was inferred from.
        model: that it was made by.
        request: text that says all that decides the result; UIDs follow from it.

    Raises:
        MissingDependencyError: if the extra ``dicom`` is not installed.
        GeometryError: if the distribution does not lie on the grid of the series.
        DataError: if the headers of the series do not make DICOM objects.
    """
    require_highdicom()
    from mose_med.io.dicom.objects.common import CaseObjects
    from mose_med.io.dicom.objects.seg_writer import binary_segmentation, case_segments, probability_segmentation
    from mose_med.io.dicom.objects.sr import measurement_report

    source.require_grid(distribution.shape, distribution.affine)
    objects = CaseObjects(source, model, request)
    segments = case_segments(distribution)
    with _faults_of_headers():
        binary = binary_segmentation(segments, objects) if segments.slices else None
        made = {
            SEGMENTATION_NAME: binary,
            PROBABILITY_NAME: probability_segmentation(distribution, objects),
            REPORT_NAME: measurement_report(distribution, segments, binary, objects) if distribution.lesions else None,
        }
        written = {name: dataset for name, dataset in made.items() if dataset is not None}
        for name, dataset in written.items():
            dataset.save_as(folder / name, enforce_file_format=True)
    if segments.left_out:
        _LOGGER.info("segments without a voxel were left out: %s", ", ".join(segments.left_out))
    if distribution.lesions:
        _LOGGER.info("%s", _lesions_in_words(distribution, segments.left_out))
    return WrittenObjects(list(written), list(segments.slices), segments.left_out)


def _lesions_in_words(distribution: CaseDistribution, left_out: list[str]) -> str:
    """How many lesions have a segment, and why others have none."""
    from mose_med.io.dicom.objects.seg_writer import lesion_label

    labels = list(map(lesion_label, distribution.lesions))
    without = [label for label in labels if label in left_out]
    words = f"{len(labels) - len(without)} of {len(labels)} lesions have a segment in {SEGMENTATION_NAME}"
    if not without:
        return words
    return (
        f"{words}; {', '.join(without)} have none, for the marginal probability of no voxel is above the threshold of "
        f"lesions: {REPORT_NAME} alone tells of them"
    )


@contextmanager
def _faults_of_headers() -> Iterator[None]:
    """Say which kind of fault a header has; the message of a library may quote identifying tags, so it is not shown.

    A rehearsal has found what headers can show, so that this is the last resort.
    """
    try:
        with without_remarks(), silenced("highdicom"):
            yield
    except (KeyError, OverflowError, ValueError) as error:
        raise ObstacleError(
            "the series", f"has headers that do not make DICOM objects ({type(error).__name__})"
        ) from error
