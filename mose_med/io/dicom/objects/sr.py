"""The measurements of a case as a DICOM report: TID 1500, a Comprehensive SR.

Every lesion is a measurement group. One that is in the consensus refers to its segment (TID 1411), one that only some
samples see has the source slice of its position instead (TID 1501). A group has the volume in ml as mean, median, 5 %
and 95 % quantile over the samples; the mean volume by expert, with the expert as measurement method; every expert's
probability; and the probability that the lesion is not there.

Codes are the standard's; this project's own have the scheme 99MOSEMED.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import highdicom as hd
import numpy as np
from pydicom import Dataset
from pydicom.sr.codedict import codes
from pydicom.sr.coding import Code

from mose_med.geometry import mm_to_index
from mose_med.inferers import CaseDistribution, Lesion
from mose_med.io.dicom.objects.common import (
    ABNORMALITY,
    LUNG,
    CaseObjects,
    private_code,
    private_scheme,
    without_run_traces,
)
from mose_med.io.dicom.objects.seg.segments import Segments, lesion_label

__all__ = ["measurement_report", "report_of_groups"]

_DIGITS = 6
_MILLILITRE = Code("ml", "UCUM", "ml")
_EXPERT_PROBABILITY = private_code("EXPERT-PROB", "Probability of the expert")
#: Measurements of a lesion with a segment, and of one without.
Group = hd.sr.MeasurementsAndQualitativeEvaluations | hd.sr.VolumetricROIMeasurementsAndQualitativeEvaluations
_P_EMPTY = private_code("P-EMPTY", "Probability that no voxel is lesion")


def measurement_report(
    distribution: CaseDistribution, segments: Segments, segmentation: Dataset | None, objects: CaseObjects
) -> hd.sr.ComprehensiveSR:
    """The report of a case.

    Args:
        distribution: of the case, with at least one lesion.
        segments: of the case.
        segmentation: object that holds the segments; None if they are all empty.
        objects: what the objects of the case share.
    """
    groups = [_group(lesion, distribution, segments, segmentation, objects) for lesion in distribution.lesions]
    return report_of_groups(groups, segmentation, objects)


def report_of_groups(
    groups: Sequence[Group], segmentation: Dataset | None, objects: CaseObjects
) -> hd.sr.ComprehensiveSR:
    """A report with these measurement groups."""
    content = hd.sr.MeasurementReport(
        observation_context=objects.observer(),
        procedure_reported=codes.cid100.CTUnspecifiedBodyRegion,
        imaging_measurements=groups,
        title=codes.DCM.ImagingMeasurementReport,
    )
    evidence = objects.source.images(range(len(objects.source.slices)))
    with _measurements_aside(content[0]):
        report = hd.sr.ComprehensiveSR(
            evidence=[*evidence, *([] if segmentation is None else [segmentation])],
            content=content,
            is_complete=True,
            coding_schemes=[private_scheme()],
            series_description="MoSE measurements",
            **objects.header("report"),
        )
    without_run_traces(report, "")
    return report


@contextmanager
def _measurements_aside(content: Dataset) -> Iterator[None]:
    """The measurements of the groups are taken out of a content, and put back at the end.

    highdicom copies all of a content and searches it three times, for references to images. Measurements have none, and
    there are up to forty in a group.
    """
    groups = [group for container in content.ContentSequence for group in container.get("ContentSequence", ())]
    all_items = [(group, group.ContentSequence) for group in groups if "ContentSequence" in group]
    for group, items in all_items:
        group.ContentSequence = [item for item in items if item.ValueType != "NUM"]
    yield
    for group, items in all_items:
        group.ContentSequence = items


def _group(
    lesion: Lesion,
    distribution: CaseDistribution,
    segments: Segments,
    segmentation: Dataset | None,
    objects: CaseObjects,
) -> Group:
    label = lesion_label(lesion, distribution)
    shared = {
        "tracking_identifier": hd.sr.TrackingIdentifier(uid=objects.uid(label), identifier=label),
        "finding_type": objects.finding,
        "finding_category": ABNORMALITY,
        "finding_sites": [hd.sr.FindingSite(LUNG)],
        "algorithm_id": objects.report_algorithm(),
        "measurements": _measurements(lesion),
    }
    number = segments.number(label)
    if segmentation is None or number is None:
        nearest = mm_to_index(distribution.affine, np.asarray(lesion.position_mm))[2]
        k = min(max(round(float(nearest)), 0), distribution.shape[2] - 1)
        image = objects.source.slices[k]
        source = hd.sr.SourceImageForMeasurementGroup(image.SOPClassUID, image.SOPInstanceUID)
        return hd.sr.MeasurementsAndQualitativeEvaluations(source_images=[source], **shared)
    images = [objects.source.slices[k] for k in segments.slices[label]]
    # highdicom's own ReferencedSegment.from_segmentation fails where there is one segment.
    reference = hd.sr.ReferencedSegment(
        sop_class_uid=segmentation.SOPClassUID,
        sop_instance_uid=segmentation.SOPInstanceUID,
        segment_number=number,
        source_images=[hd.sr.SourceImageForSegmentation(i.SOPClassUID, i.SOPInstanceUID) for i in images],
    )
    return hd.sr.VolumetricROIMeasurementsAndQualitativeEvaluations(referenced_segment=reference, **shared)


def _measurements(lesion: Lesion) -> Sequence[hd.sr.Measurement]:
    volume = lesion.volume_ml
    spread = (
        (codes.SCT.Mean, volume.mean),
        (codes.SCT.FifthPercentile, volume.p05),
        (codes.SCT.Median, volume.p50),
        (codes.SCT.NinetyFifthPercentile, volume.p95),
    )
    measurements = [_measurement(codes.SCT.Volume, value, _MILLILITRE, derivation=code) for code, value in spread]
    several = len(lesion.expert_probs) > 1
    experts = zip(volume.by_expert, lesion.expert_probs, strict=True) if several else ()
    for expert, (mean, probability) in enumerate(experts, start=1):
        method = private_code(f"EXPERT-{expert}", f"Expert {expert} of the mixture")
        measurements += [
            _measurement(codes.SCT.Volume, mean, _MILLILITRE, derivation=codes.SCT.Mean, method=method),
            _measurement(_EXPERT_PROBABILITY, probability, codes.UCUM.NoUnits, method=method),
        ]
    return [*measurements, _measurement(_P_EMPTY, volume.p_empty, codes.UCUM.NoUnits)]


def _measurement(
    name: Code, value: float, unit: Code, *, derivation: Code | None = None, method: Code | None = None
) -> hd.sr.Measurement:
    return hd.sr.Measurement(
        name=name, value=round(float(value), _DIGITS) + 0.0, unit=unit, derivation=derivation, method=method
    )
