"""``mose-med report``: the review page and the sheets of a case that was inferred before."""

from __future__ import annotations

import logging
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from mose_med.case_contents.provenance import difference_of_voxels
from mose_med.ct_image import CtImage
from mose_med.errors import ConfigError, DataError
from mose_med.files.run_lock import alone_in
from mose_med.geometry import grid_difference
from mose_med.io.case.folder import CaseFolder, open_folder
from mose_med.io.channels import read_channels
from mose_med.io.study import ReadingOptions
from mose_med.report.niivue import require_niivue
from mose_med.report.review import PAGE_NAME, write_review
from pipelines.report.options import ReportOptions

__all__ = ["ReportOptions", "report"]

_SAME_PLACE_MM = 0.01
_LOGGER = logging.getLogger(__name__)


def report(options: ReportOptions) -> Path:
    """Write ``report.html`` and the sheets into the folder of a finished case, all or none.

    Returns:
        The page.

    Raises:
        ConfigError: if there is a page already.
        DataError: if the case is not finished, or the image is not the one that it was inferred from.
        GeometryError: if the geometry of the image does not fit.
        MissingDependencyError: if the package for the page is not installed.
    """
    require_niivue()
    case = open_folder(options.case_dir)
    page = options.case_dir / PAGE_NAME
    if page.exists() and not options.overwrite:
        raise ConfigError(f"{page} already exists: add --overwrite to replace it")
    image = _read_inferred_image(case, options)
    _require_its_own(case, image, options.image)
    with alone_in(options.case_dir), _all_or_none(options.case_dir) as temporary:
        write_review(temporary, case, image.as_tensor()[0].numpy())
    _LOGGER.info("%s: open it in a browser", page)
    return page


def _read_inferred_image(case: CaseFolder, options: ReportOptions) -> CtImage:
    """The image, with uneven slices and a tilted gantry treated as they were for the case."""
    before = case.provenance.get("options", {})
    treated = {name: before[name] for name in ("slice_spacing", "gantry_tilt", "nifti_transform") if name in before}
    return read_channels([options.image], ReadingOptions(options.series, options.acquisition, **treated)).image


def _require_its_own(case: CaseFolder, image: CtImage, path: Path) -> None:
    grids = (image.shape[1:], np.asarray(image.affine), case.shape, case.affine)
    difference = grid_difference(*grids, whose="the case's", tolerance_mm=_SAME_PLACE_MM)
    difference = difference or difference_of_voxels(case.provenance, image)
    if difference is not None:
        raise DataError(f"{path} must be the CT that {case.name} was inferred from: {difference}; name that one")


@contextmanager
def _all_or_none(folder: Path) -> Iterator[Path]:
    """A temporary folder whose files move into ``folder`` if all goes well."""
    temporary = folder / ".report.tmp"
    shutil.rmtree(temporary, ignore_errors=True)
    temporary.mkdir()
    try:
        yield temporary
        for path in sorted(temporary.iterdir()):
            path.replace(folder / path.name)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
