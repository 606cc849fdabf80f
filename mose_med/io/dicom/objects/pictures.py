"""Pictures of lesions as DICOM secondary captures, which every viewer shows."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from pydicom import Dataset
from pydicom.uid import SecondaryCaptureImageStorage

from mose_med.geometry import mm_to_index
from mose_med.inferers import CaseDistribution, Lesion
from mose_med.io.dicom.objects.common import CaseObjects, without_run_traces
from mose_med.io.dicom.objects.seg.segments import lesion_label

__all__ = ["lesion_picture"]


def lesion_picture(
    pixels: NDArray[np.uint8], lesion: Lesion, distribution: CaseDistribution, objects: CaseObjects
) -> Dataset:
    """A picture of a lesion, which names the source slice of its position.

    Args:
        pixels: RGB, (row, column, 3).
        lesion: that it shows.
        distribution: of the case.
        objects: what the objects of the case share.
    """
    header = objects.header("pictures") | {
        "sop_instance_uid": objects.uid(f"picture {lesion.number}"),
        "instance_number": lesion.number,
    }
    picture = objects.object_without_images(SecondaryCaptureImageStorage, "OT", "MoSE pictures of lesions", header)
    picture.ConversionType = "WSD"
    picture.ImageType = ["DERIVED", "SECONDARY", "OTHER"]
    picture.ImageComments = lesion_label(lesion, distribution)
    picture.BurnedInAnnotation = "NO"
    picture.PatientOrientation, picture.Laterality = [], ""
    picture.Rows, picture.Columns = pixels.shape[:2]
    picture.SamplesPerPixel, picture.PhotometricInterpretation, picture.PlanarConfiguration = 3, "RGB", 0
    picture.BitsAllocated = picture.BitsStored = 8
    picture.HighBit, picture.PixelRepresentation = 7, 0
    values = np.ascontiguousarray(pixels).tobytes()
    picture.PixelData = values + b"\0" * (len(values) % 2)
    source = objects.source.slices[_slice(lesion, distribution)]
    picture.SourceImageSequence = [_instance(source)]
    series = Dataset()
    series.SeriesInstanceUID, series.ReferencedInstanceSequence = source.SeriesInstanceUID, [_instance(source)]
    picture.ReferencedSeriesSequence = [series]
    without_run_traces(picture, "")
    return picture


def _slice(lesion: Lesion, distribution: CaseDistribution) -> int:
    nearest = mm_to_index(distribution.affine, np.asarray(lesion.position_mm))[2]
    return min(max(round(float(nearest)), 0), distribution.shape[2] - 1)


def _instance(image: Dataset) -> Dataset:
    item = Dataset()
    item.ReferencedSOPClassUID, item.ReferencedSOPInstanceUID = image.SOPClassUID, image.SOPInstanceUID
    return item
