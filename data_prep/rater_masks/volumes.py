"""The image of a case with the masks of its raters, all on one grid in LPS orientation."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from pydicom.uid import RTStructureSetStorage

from data_prep.rater_masks.cases import OBJECT_SUFFIX, RaterCase
from mose_med.errors import DataError, GeometryError
from mose_med.geometry import Affine, reorientation
from mose_med.io import ReadingOptions, read_study
from mose_med.io.dicom.objects.object_files import read_object, require_drawn_on
from mose_med.io.dicom.objects.rtstruct.masks import read_structures
from mose_med.io.dicom.objects.seg.reading import read_segmentation
from mose_med.io.dicom.stacking.stack import TILT_REMEDY
from mose_med.io.mask_values import is_foreground_255, whole_values
from mose_med.io.masks import mask_on_grid
from mose_med.io.slicer import LAYERED_SUFFIXES, read_drawn
from mose_med.io.study import Source
from mose_med.io.volumes import Volume, is_volume

__all__ = ["RatedVolume", "load_case", "may_have_layers"]

_LOGGER = logging.getLogger(__name__)
_TILT_REMEDY_WITH_MASKS = ": resample it and its masks on one right-angled grid"


class RatedVolume(NamedTuple):
    """An image and its masks.

    Attributes:
        image: (i, j, k), i to the patient's left, j to posterior, k to superior.
        masks: classes, (i, j, k, R); those of missing raters are 0.
        present: which raters looked, (R,).
        affine: RAS mm.
    """

    image: NDArray[np.generic]
    masks: NDArray[np.uint8]
    present: NDArray[np.bool_]
    affine: Affine


def load_case(
    case: RaterCase,
    raters: Sequence[str],
    num_classes: int,
    layer: str | None = None,
    acquisition: int | None = None,
) -> RatedVolume:
    """Read a case.

    Args:
        case: whose files are read.
        raters: of all cases, in the order of the masks.
        num_classes: with background.
        layer: of masks of 3D Slicer, the segment or layer to read; of structure sets, the region.
        acquisition: number of the acquisition to read of a DICOM image; all its slices if None.

    Raises:
        DataError: if a file is missing, named twice, cannot be read, or holds other values than the classes.
        GeometryError: if the geometry of the image does not fit, or a mask does not lie on its grid.
    """
    if len(case.images) != 1:
        remedy = "keep one" if case.images else "name it image.nii.gz, image.nrrd or image/"
        raise DataError(f"{case.case} must have one image, got {len(case.images)}: {remedy}")
    if not case.masks:
        raise DataError(f"{case.case} has no mask: name one rater-<name>.nii.gz")
    image_path = case.images[0]
    unoriented, source = _read_image(image_path, acquisition)
    image = _oriented(unoriented)
    masks = np.zeros((*image.array.shape, len(raters)), dtype=np.uint8)
    for rater, paths in case.masks.items():
        if len(paths) != 1:
            raise DataError(f"{case.case}: {paths[1].name} and {paths[0].name} both belong to rater {rater}")
        mask: NDArray[np.generic]
        if paths[0].name.lower().endswith(OBJECT_SUFFIX):
            mask = _read_object(paths[0], image, source, num_classes, layer)
        else:
            mask = mask_on_grid(read_drawn(paths[0], layer), str(paths[0]), image, image_path.name)
        masks[..., raters.index(rater)] = _classes(mask, num_classes, paths[0])
    return RatedVolume(image.array, masks, np.asarray([rater in case.masks for rater in raters]), image.affine)


def may_have_layers(mask: Path) -> bool:
    """Whether a mask is of a kind from which one segment, layer or region can be chosen."""
    return mask.name.lower().endswith((*LAYERED_SUFFIXES, OBJECT_SUFFIX))


def _read_image(path: Path, acquisition: int | None) -> tuple[Volume, Source | None]:
    """An image, read and checked as for inference, and where it is from if it is DICOM."""
    try:
        study = read_study(path, ReadingOptions(acquisition=None if is_volume(path) else acquisition))
    except GeometryError as error:
        # The masks lie on the slices as they are, so that the image alone cannot be corrected.
        raise GeometryError(str(error).replace(TILT_REMEDY, _TILT_REMEDY_WITH_MASKS)) from error
    volume = Volume(study.image.tensor[0].numpy(), np.asarray(study.image.affine, dtype=np.float64))
    return volume, study.source if study.source.format == "dicom" else None


def _read_object(
    path: Path, image: Volume, source: Source | None, num_classes: int, layer: str | None
) -> NDArray[np.uint8]:
    """Classes of a DICOM object, on the image's grid."""
    dataset = read_object(path, stop_before_pixels=True)
    if source is not None:
        require_drawn_on(path, "mask", source.series_uid, source.frame_of_reference)
    if dataset.get("SOPClassUID") == RTStructureSetStorage:
        return read_structures(path, image.array.shape, image.affine, num_classes, layer)
    return read_segmentation(path, image.array.shape, image.affine)


def _oriented(volume: Volume) -> Volume:
    steps = reorientation(volume.affine, "LPS")
    return Volume(steps.apply(volume.array), steps.affine(volume.affine, volume.array.shape))


def _classes(array: NDArray[np.generic], num_classes: int, path: Path) -> NDArray[np.uint8]:
    whole, wrong = whole_values(array)
    if wrong is None and num_classes == 2 and is_foreground_255(whole):
        _LOGGER.warning("a mask holds 255 and no other class: read as class 1")
        return np.asarray(whole != 0).astype(np.uint8)
    strange = np.setdiff1d(whole, np.arange(num_classes))
    if wrong is None and strange.size:
        wrong = float(strange[0])
    if wrong is not None:
        may_be_class = wrong.is_integer() and wrong >= num_classes
        remedy = "name more with --classes" if may_be_class else "save it with whole numbers, 0 for background"
        raise DataError(f"{path} must hold classes 0 to {num_classes - 1}, got {wrong:g}: {remedy}")
    return whole.astype(np.uint8)
