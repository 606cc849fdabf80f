"""Direction cosines that are rounded, or wrong."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from mose_med.errors import GeometryError
from mose_med.geometry import spacing_mm
from mose_med.io import read_ct

_TURNED = np.linalg.qr([[1.0, 0.11, 0.07], [0.13, -1.0, 0.12], [0.05, 0.1, 1.0]])[0].T[:2]


@pytest.fixture
def study(tmp_path: Path, write_ct_series) -> Path:
    """Forty slices of oblique planes, with exact cosines."""
    write_ct_series(tmp_path / "study", np.zeros((40, 6, 5)), orientation=tuple(_TURNED.ravel()), step_mm=5.0)
    return tmp_path / "study"


@pytest.mark.parametrize(("digits", "within_mm"), [(6, 1e-3), (4, 0.02), (3, 0.2)])
def test_rounded_cosines_neither_rescale_nor_shear(study: Path, edit_dicom, digits: int, within_mm: float):
    exact = np.asarray(read_ct(study).affine)
    for path in study.iterdir():
        edit_dicom(path, ImageOrientationPatient=_TURNED.ravel().round(digits).tolist())
    affine = np.asarray(read_ct(study).affine)
    np.testing.assert_allclose(spacing_mm(affine), [0.6, 0.7, 5.0], rtol=1e-5)
    axes = affine[:3, :3] / spacing_mm(affine)
    np.testing.assert_allclose(axes.T @ axes, np.eye(3), atol=1e-9)
    np.testing.assert_allclose(affine @ [0, 0, 39, 1], exact @ [0, 0, 39, 1], atol=within_mm)


def test_two_digits_are_rounding_in_the_plane_and_no_larger_pixel(tmp_path: Path, write_ct_series):
    write_ct_series(tmp_path, np.zeros((3, 6, 5)), orientation=(0.71, 0.7, 0, -0.7, 0.71, 0))
    np.testing.assert_allclose(spacing_mm(np.asarray(read_ct(tmp_path).affine))[:2], [0.6, 0.7])


@pytest.mark.parametrize(
    ("cosines", "found"),
    [
        ((1.1, 0, 0, 0, 1, 0), "lengths 1.1 and 1 at 90.0 degrees"),
        ((1, 0, 0, 0.1, 1, 0), "lengths 1 and 1 at 84.3 degrees"),
        ((0.5, 0, 0, 0, 0.5, 0), "lengths 0.5 and 0.5 at 90.0 degrees"),
        ((0, 0, 0, 0, 1, 0), "lengths 0 and 1 at 90.0 degrees"),
    ],
)
def test_other_cosines_are_refused_by_name(tmp_path: Path, write_ct_series, edit_dicom, cosines, found: str):
    for path in write_ct_series(tmp_path, np.zeros((3, 6, 5))):
        edit_dicom(path, ImageOrientationPatient=list(cosines))
    with pytest.raises(
        GeometryError, match=f"ImageOrientationPatient of image 00. must be two unit vectors .* {found}"
    ):
        read_ct(tmp_path)
