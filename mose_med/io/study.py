"""What a reader returns: the image, and separately its patient."""

from __future__ import annotations

from typing import Literal, NamedTuple

from mose_med.ct_image import CtImage
from mose_med.io.nifti.transforms import NiftiTransforms

__all__ = ["Form", "Source", "Study"]

Form = Literal["dicom", "nifti", "nrrd", "metaimage", "memory"]


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
    """

    image: CtImage
    source: Source
    corrections: tuple[str, ...] = ()
    transforms: NiftiTransforms | None = None
