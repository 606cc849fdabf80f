"""Where a NIfTI volume lies: two transforms in its header, each with a code; they may disagree.

The sform is taken where its code is set, else the qform, as nibabel does; viewers built on ITK may take the other.
Where neither code is set, the file says nothing of the patient: the centre of the volume is the origin, as nibabel has
it.
"""

from __future__ import annotations

from typing import Any, Literal, NamedTuple

import nibabel as nib
import numpy as np
from nibabel.spatialimages import HeaderDataError
from numpy.typing import NDArray

from mose_med.errors import ConfigError, GeometryError
from mose_med.geometry import Affine, corner_distance_mm, spacing_mm

__all__ = ["NIFTI_TRANSFORMS", "NiftiTransform", "NiftiTransforms", "check_nifti_transform", "chosen_transform"]

NiftiTransform = Literal["auto", "sform", "qform", "centre"]
NIFTI_TRANSFORMS = ("auto", "sform", "qform", "centre")

_FIELDS = (
    *("qform_code", "sform_code", "quatern_b", "quatern_c", "quatern_d"),
    *("qoffset_x", "qoffset_y", "qoffset_z", "srow_x", "srow_y", "srow_z"),
)


class NiftiTransforms(NamedTuple):
    """Both transforms of a header.

    Attributes:
        fields: of the header, by name, as they stand there.
        spacing_mm: ``pixdim`` 0 to 3; the first is the handedness of the qform.
        sform: RAS mm, (4, 4); None where its code is not set.
        qform: likewise; None also where it cannot be computed.
        centred: the transform of a file that has neither.
    """

    fields: dict[str, Any]
    spacing_mm: NDArray[np.float64]
    sform: Affine | None
    qform: Affine | None
    centred: Affine

    @classmethod
    def of(cls, header: nib.Nifti1Header) -> NiftiTransforms:
        """Transforms of a header."""
        header = header.copy()
        spacing = np.nan_to_num(np.abs(np.asarray(header["pixdim"][:4], dtype=np.float64)), nan=0.0, posinf=0.0)
        spacing[0] = -1.0 if header["pixdim"][0] < 0 else 1.0
        header["pixdim"][:4] = spacing
        sform = np.asarray(header.get_sform(), dtype=np.float64) if header["sform_code"] > 0 else None
        fields = {name: np.array(header[name]) for name in _FIELDS}
        return cls(fields, spacing, sform, _qform(header), np.asarray(header.get_base_affine(), dtype=np.float64))

    @property
    def placed(self) -> bool:
        """Whether the file says where it lies in the patient."""
        return bool(self.fields["sform_code"] > 0 or self.fields["qform_code"] > 0)

    def apart_mm(self, shape: tuple[int, ...]) -> float:
        """How far the two transforms put a corner of a volume apart; 0 where there are not two."""
        if self.sform is None or self.qform is None or not np.isfinite([self.sform, self.qform]).all():
            return 0.0
        return corner_distance_mm(self.sform, self.qform, shape)

    def write_to(self, header: nib.Nifti1Header, affine: Affine) -> None:
        """Put both transforms and their codes into a header of a volume on the same grid, whose affine was chosen."""
        pixdim = self.spacing_mm if self.fields["qform_code"] > 0 else [1.0, *spacing_mm(affine)]
        header["pixdim"][:4] = pixdim
        for name, value in self.fields.items():
            header[name] = value


def _qform(header: nib.Nifti1Header) -> Affine | None:
    try:
        return np.asarray(header.get_qform(), dtype=np.float64) if header["qform_code"] > 0 else None
    except (HeaderDataError, ValueError):
        return None


def check_nifti_transform(choice: str) -> None:
    """Check the option.

    Raises:
        ConfigError: if there is no such choice.
    """
    if choice not in NIFTI_TRANSFORMS:
        raise ConfigError(f"nifti_transform must be {', '.join(NIFTI_TRANSFORMS[:-1])} or centre, got {choice!r}")


def chosen_transform(transforms: NiftiTransforms, choice: NiftiTransform = "auto") -> Affine:
    """The affine to take, RAS mm.

    Raises:
        ConfigError: if there is no such choice.
        GeometryError: if the header has not what is chosen.
    """
    check_nifti_transform(choice)
    if choice == "centre":
        return transforms.centred
    if choice == "auto":
        choice = "sform" if transforms.sform is not None else "qform"
        if not transforms.placed:
            return transforms.centred
    chosen: Affine | None = getattr(transforms, choice)
    if chosen is None:
        code = int(transforms.fields[f"{choice}_code"])
        raise GeometryError(f"the header must have a usable {choice}, its code is {code}: take another transform")
    return chosen
