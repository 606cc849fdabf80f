"""What a reader is given and returns: how to read; the image, and separately its patient."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, NamedTuple

from mose_med.ct_image import CtImage
from mose_med.errors import GeometryError
from mose_med.io.dicom.stacking.stack import GantryTilt, SliceSpacing
from mose_med.io.nifti.transforms import NiftiTransform, NiftiTransforms

__all__ = ["NO_CODES", "Form", "ReadingOptions", "Source", "Study", "require_place"]

#: What a NIfTI header without a position lacks.
NO_CODES = "its sform and qform codes are 0"

Form = Literal["dicom", "nifti", "nrrd", "metaimage", "memory"]


@dataclass(frozen=True)
class ReadingOptions:
    """How an image is read.

    Attributes:
        series: of a DICOM input, the SeriesInstanceUID to read, or the series' number in
            :func:`~mose_med.io.list_series`; if None, the first of that list.
        acquisition: of a DICOM series that holds the same places more than once, the number of the acquisition to read.
        slice_spacing: of a DICOM input, what to do with slices that are missing or not equally spaced: ``refuse``, or
            ``resample``, which interpolates along the normal.
        gantry_tilt: what to do with slices of a tilted gantry, in DICOM or put into one file: ``refuse``, or
            ``correct``, which lays them on a right-angled grid.
        nifti_transform: of a NIfTI input, which of its transforms to take: ``auto``, the sform where it has one, else
            the qform; ``sform``; ``qform``; or ``centre``, the centre of the volume for the origin.
    """

    series: str | None = None
    acquisition: int | None = None
    slice_spacing: SliceSpacing = "refuse"
    gantry_tilt: GantryTilt = "refuse"
    nifti_transform: NiftiTransform = "auto"


class Source(NamedTuple):
    """The source of an image; identifying tags are empty if the file has none.

    Nothing of it but ``format`` may be written anywhere but to ``private/case_map.csv``.
    """

    format: Form
    patient_id: str = ""
    study_uid: str = ""
    series_uid: str = ""
    frame_of_reference: str = ""


class Study(NamedTuple):
    """A CT image and its source.

    Attributes:
        image: HU, shape (1, i, j, k), with its RAS-mm ``.affine``; int16 where the source holds whole numbers of its
            range, else float32.
        source: kept apart from the image.
        corrections: what was corrected in the source's geometry, in words; the image then has its own grid.
        transforms: of a NIfTI file whose grid the image has.
        no_place: what a header lacks that does not say where the image lies in the patient; empty if it says it.
    """

    image: CtImage
    source: Source
    corrections: tuple[str, ...] = ()
    transforms: NiftiTransforms | None = None
    no_place: str = ""


def require_place(name: str, no_place: str) -> None:
    """Positions in mm need a volume with a position in the patient, unless they are relative to its centre.

    Args:
        name: of the volume, for the message.
        no_place: why it has none; empty if it has one.

    Raises:
        GeometryError: if it has none.
    """
    if not no_place:
        return
    centre = ", or pass --nifti-transform centre if they are relative to the centre of the volume, as in nibabel"
    raise GeometryError(
        f"{name} has no position in the patient ({no_place}), so positions in mm cannot be used: write its position "
        f"into the header{centre if no_place == NO_CODES else ''}"
    )
