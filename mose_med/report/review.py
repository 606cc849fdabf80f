"""The pictures of a case: the review page, and a sheet for each lesion."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from mose_med.errors import DataError
from mose_med.inferers import Lesion
from mose_med.io.case.maps import ReviewedCase, class_if_several
from mose_med.report.lesion_sheet.figure import LesionFigure, lesion_figure
from mose_med.report.lesion_volumes import read_lesion_volumes
from mose_med.report.review_page import review_page
from mose_med.runtime.ahead import ahead

__all__ = ["MAX_DRAWN", "PAGE_NAME", "drawn_lesions", "sheet_name", "write_review"]

PAGE_NAME = "report.html"
#: Lesions that get a sheet, and a place in the viewer while the page is small enough.
MAX_DRAWN = 20


def sheet_name(lesion: Lesion) -> str:
    """Name of the sheet of a lesion."""
    return f"lesion-{lesion.number}.png"


def drawn_lesions(lesions: Sequence[Lesion]) -> list[Lesion]:
    """The lesions to draw: the first of the list, as many as :data:`MAX_DRAWN`; those of a search run by volume.

    A lesion that is the same as another is left out.
    """
    return [lesion for lesion in lesions if lesion.same_as is None][:MAX_DRAWN]


def write_review(folder: Path, case: ReviewedCase, image_hu: NDArray[np.floating]) -> list[Path]:
    """Write ``report.html`` and the sheets ``lesion-1.png`` ..., which PyTorch's number of threads draw.

    Args:
        folder: an existing one.
        case: finished, or still to be written.
        image_hu: the CT that it was inferred from, (i, j, k).

    Returns:
        The files.

    Raises:
        DataError: if a map cannot be read, or the CT is of another shape.
        MissingDependencyError: if the package that NiiVue comes from is not installed.
    """
    if image_hu.shape != case.shape:
        raise DataError(f"image must have the shape of the case, {case.shape}, got {image_hu.shape}: name its own CT")
    lesions = drawn_lesions(case.lesions)
    volumes = read_lesion_volumes(case, image_hu, lesions)
    by_number = {lesion.number: of_lesion for lesion, of_lesion in zip(lesions, volumes, strict=True)}
    page = folder / PAGE_NAME
    page.write_text(review_page(case, by_number), encoding="utf-8", errors="surrogateescape")
    figures = [
        lesion_figure(lesion, of_lesion, case=case.name, label=class_if_several(case, lesion))
        for lesion, of_lesion in zip(lesions, volumes, strict=True)
    ]
    sheets = [folder / sheet_name(lesion) for lesion in lesions]
    for sheet, png in zip(sheets, ahead(LesionFigure.png, figures, torch.get_num_threads()), strict=True):
        sheet.write_bytes(png)
    return [page, *sheets]
