"""The sheets of lesions as pixels, for pictures in DICOM."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray

from mose_med.io.case.maps import ReviewedCase, class_if_several
from mose_med.report.lesion_sheet.figure import LesionFigure, lesion_figure
from mose_med.report.lesion_volumes import read_lesion_volumes
from mose_med.report.review import drawn_lesions
from mose_med.runtime.ahead import ahead

__all__ = ["lesion_pictures"]


def lesion_pictures(case: ReviewedCase, image_hu: NDArray[np.floating]) -> dict[int, NDArray[np.uint8]]:
    """RGB (row, column, 3) of the sheets of a case, by number of the lesion: of as many as the review page draws.

    Args:
        case: with the maps that a sheet shows.
        image_hu: CT on the grid of the case.
    """
    lesions = drawn_lesions(case.lesions)
    figures = [
        lesion_figure(lesion, volumes, label=class_if_several(case, lesion))
        for lesion, volumes in zip(lesions, read_lesion_volumes(case, image_hu, lesions), strict=True)
    ]
    pixels = ahead(LesionFigure.pixels, figures, torch.get_num_threads())
    return {lesion.number: picture for lesion, picture in zip(lesions, pixels, strict=True)}
