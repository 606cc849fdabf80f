"""The only modules that open image files."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mose_med.runtime.lazy_names import names_from

if TYPE_CHECKING:
    from mose_med.io.ct import read_ct, read_study
    from mose_med.io.dicom.read import list_series, read_dicom
    from mose_med.io.dicom.series import SeriesSummary
    from mose_med.io.masks import read_mask
    from mose_med.io.nifti.images import read_nifti, write_nifti
    from mose_med.io.nodules.reading import Nodule, read_nodules, require_own_series
    from mose_med.io.study import ReadingOptions, Source, Study

__all__ = [
    "Nodule",
    "ReadingOptions",
    "SeriesSummary",
    "Source",
    "Study",
    "list_series",
    "read_ct",
    "read_dicom",
    "read_mask",
    "read_nifti",
    "read_nodules",
    "read_study",
    "require_own_series",
    "write_nifti",
]

__getattr__ = names_from(
    __name__,
    {
        "ct": "read_ct read_study",
        "dicom.read": "list_series read_dicom",
        "dicom.series": "SeriesSummary",
        "masks": "read_mask",
        "nifti.images": "read_nifti write_nifti",
        "nodules.reading": "Nodule read_nodules require_own_series",
        "study": "ReadingOptions Source Study",
    },
)
