"""One reader for every kind of CT input."""

from __future__ import annotations

import logging
import os
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from mose_med.ct_image import CtImage
from mose_med.errors import ConfigError, DataError
from mose_med.io.dicom.stacking.stack import GantryTilt, SliceSpacing, check_gantry_tilt
from mose_med.io.file_kinds import kind_of
from mose_med.io.nifti.images import ct_study, is_nifti, read_nifti
from mose_med.io.nifti.shear import upright
from mose_med.io.nifti.transforms import NiftiTransform
from mose_med.io.padding import warn_of_padding, without_padding
from mose_med.io.study import Form, ReadingOptions, Study
from mose_med.io.volumes import is_volume, read_volume

if TYPE_CHECKING:
    from monai.data import MetaTensor

__all__ = ["of_one_volume", "read_ct", "read_study"]

_LOGGER = logging.getLogger(__name__)
_HEAD_BYTES = 4096
_AS_IT_IS = ReadingOptions()
_ZIP = b"PK"


def read_ct(
    path: str | os.PathLike[str],
    series: str | None = None,
    *,
    acquisition: int | None = None,
    slice_spacing: SliceSpacing = "refuse",
    gantry_tilt: GantryTilt = "refuse",
    nifti_transform: NiftiTransform = "auto",
) -> MetaTensor:
    """Read a CT volume; it carries no identifying tags.

    Args:
        path: DICOM folder or zip, or a NIfTI (.nii, .nii.gz), NRRD (.nrrd, .nhdr) or MetaImage (.mha, .mhd) file.
        series: as all that follow, see :class:`~mose_med.io.ReadingOptions`.
        acquisition: number of the acquisition.
        slice_spacing: ``refuse`` or ``resample``.
        gantry_tilt: ``refuse`` or ``correct``.
        nifti_transform: ``auto``, ``sform``, ``qform`` or ``centre``.

    Returns:
        HU, shape (1, i, j, k), int16 where the source holds whole numbers, else float32, with the RAS-mm ``.affine`` of
        (i, j, k). Of DICOM, i runs along columns, j along rows and k along ascending slices.

    Raises:
        ConfigError: if series or acquisition are not there, or are named for a file that is not DICOM, or an option
            does not fit.
        DataError: if the input cannot be used.
        GeometryError: if its geometry does not fit.
    """
    from monai.data import MetaTensor  # here, since it takes seconds to import, and the rest does without

    options = ReadingOptions(series, acquisition, slice_spacing, gantry_tilt, nifti_transform)
    image = read_study(path, options).image
    return MetaTensor(image.tensor, affine=image.affine)


def read_study(path: str | os.PathLike[str], options: ReadingOptions = _AS_IT_IS) -> Study:
    """Read a CT volume as :func:`read_ct` does, together with its source."""
    if not is_volume(path):
        from mose_med.io.dicom.read import read_dicom  # here, since other formats do without pydicom

        _require_dicom_or_zip(Path(path))
        study = read_dicom(
            path,
            options.series,
            acquisition=options.acquisition,
            slice_spacing=options.slice_spacing,
            gantry_tilt=options.gantry_tilt,
        )
        return _with_air_outside(study)
    for option, value in (("series", options.series), ("acquisition", options.acquisition)):
        if value is not None:
            raise ConfigError(
                f"{option} applies only to DICOM input, got {value!r} for a volume in one file: leave it out"
            )
    study = read_nifti(path, options.nifti_transform) if is_nifti(path) else _read_with_itk(Path(path))
    return of_one_volume(study, str(path), options.gantry_tilt)


def of_one_volume(study: Study, source: str, gantry_tilt: GantryTilt) -> Study:
    """The study of a volume in one piece: air where it holds no measurement, and axes at right angles.

    Args:
        study: as it was read.
        source: what it is from, for messages.
        gantry_tilt: as for :func:`read_ct`.

    Raises:
        ConfigError: if ``gantry_tilt`` does not fit.
        GeometryError: if the volume is sheared and may not, or cannot, be corrected.
    """
    check_gantry_tilt(gantry_tilt)
    return upright(_with_air_outside(study), source, gantry_tilt)


def _require_dicom_or_zip(path: Path) -> None:
    """Name the content of a single file that is of another kind."""
    if not path.is_file():
        return
    with path.open("rb") as file:
        head = file.read(_HEAD_BYTES)
    kind = kind_of(head)
    if kind is not None and not head.startswith(_ZIP) and head[128:132] != b"DICM":
        raise DataError(f"{path} cannot be read: it is {kind}")


def _with_air_outside(study: Study) -> Study:
    """Common to all formats: the padding rule is applied only here."""
    values, outside = without_padding(study.image.as_tensor().numpy())
    warn_of_padding(outside)
    return study._replace(image=CtImage(torch.from_numpy(values), study.image.affine))


def _read_with_itk(path: Path) -> Study:
    volume = read_volume(path)
    form: Form = "nrrd" if path.suffix.lower() in (".nrrd", ".nhdr") else "metaimage"
    if volume.no_place:
        _LOGGER.warning(
            "the file has no position in the patient (%s): positions are from its first voxel, and which side is left "
            "is not known",
            volume.no_place,
        )
    return ct_study(path, volume.array, volume.affine, form)._replace(no_place=volume.no_place)
