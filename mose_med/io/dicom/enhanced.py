"""Enhanced CT: one DICOM file that holds many slices.

Place, pixel spacing, rescaling and kernel of a frame are in its own functional groups, or once in those that all
frames share (DICOM PS3.3, A.38 and C.7.6.16). Here each frame becomes a dataset with them at its top, as a file of one
slice has.
"""

from __future__ import annotations

import pydicom

from mose_med.errors import DataError
from mose_med.io.dicom.element_values import direction_cosines, numbers
from mose_med.io.dicom.files import ENHANCED_CT, DicomFile, read_dataset
from mose_med.io.dicom.headers import SliceHeader

__all__ = ["frame_dataset", "with_frames"]

_GROUPS = (
    "PixelMeasuresSequence",
    "PlanePositionSequence",
    "PlaneOrientationSequence",
    "PixelValueTransformationSequence",
    "CTReconstructionSequence",
    "FrameContentSequence",
)


def with_frames(headers: list[SliceHeader]) -> list[SliceHeader]:
    """The same headers, one per frame instead of one per file for enhanced CT.

    Raises:
        DataError: if the functional groups of such a file are missing or not one a frame.
    """
    return [frame for header in headers for frame in _frames(header)]


def _frames(header: SliceHeader) -> list[SliceHeader]:
    if header.sop_class not in ENHANCED_CT:
        return [header]
    dataset = read_dataset(header.file)
    return [_frame_header(header, frame_dataset(header.file, dataset, frame), frame) for frame in range(header.frames)]


def frame_dataset(file: DicomFile, dataset: pydicom.Dataset, frame: int) -> pydicom.Dataset:
    """Attributes of one frame's functional groups, at the top of a dataset.

    Raises:
        DataError: if there are no functional groups for the frame.
    """
    frames = dataset.get("PerFrameFunctionalGroupsSequence") or ()
    if len(frames) != int(dataset.get("NumberOfFrames") or 1):
        raise DataError(
            f"{file.name} must give the position of each of its {dataset.get('NumberOfFrames')} frames, "
            f"got {len(frames)}"
        )
    shared = (dataset.get("SharedFunctionalGroupsSequence") or [pydicom.Dataset()])[0]
    flat = pydicom.Dataset()
    for name in _GROUPS:
        for groups in (shared, frames[frame]):
            for item in (groups.get(name) or ())[:1]:
                flat.update(item)
    return flat


def _frame_header(header: SliceHeader, flat: pydicom.Dataset, frame: int) -> SliceHeader:
    return header._replace(
        position=numbers(flat.get("ImagePositionPatient"), 3),
        orientation=direction_cosines(flat.get("ImageOrientationPatient")),
        pixel_spacing=numbers(flat.get("PixelSpacing"), 2),
        kernel=str(flat.get("ConvolutionKernel") or header.kernel),
        acquisition_number=int(flat.get("FrameAcquisitionNumber") or 0),
        acquisition_time=str(flat.get("FrameAcquisitionDateTime") or ""),
        has_rescaling=any(flat.get(keyword) is not None for keyword in ("RescaleSlope", "RescaleIntercept")),
        frames=1,
        frame=frame,
    )
