"""Where voxels lie, against SimpleITK's GDCM series reader and dcm2niix, for planes that lie and run anyhow."""

from __future__ import annotations

import shutil
import subprocess
import tempfile
import zipfile
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import SimpleITK as sitk  # noqa: N813
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mose_med.geometry import LPS_TO_RAS
from mose_med.io import read_ct

STORED = np.random.default_rng(0).integers(-1000, 1000, size=(4, 7, 5))
TOLERANCE_MM = 1e-4
#: Together less than the tilt at which a plane is no longer axial.
ANGLES = st.floats(-14.0, 14.0)


@st.composite
def geometries(draw: st.DrawFn) -> dict[str, object]:
    """Orientation, place, spacing and direction of a series."""
    turns = [np.radians(draw(ANGLES)) for _ in range(3)]
    u, v, _ = _rotation(*turns).T
    u, v = (v, u) if draw(st.booleans()) else (u, v)
    signs = draw(st.tuples(st.sampled_from([1, -1]), st.sampled_from([1, -1])))
    place, step = st.floats(-300, 300), st.floats(0.4, 6.0)
    return {
        "orientation": tuple(np.concatenate([signs[0] * u, signs[1] * v]).round(9).tolist()),
        "first_mm": draw(st.tuples(place, place, place)),
        "step_mm": draw(st.sampled_from([1, -1])) * draw(step),
        "PixelSpacing": [round(draw(step), 4), round(draw(step), 4)],
    }


def _rotation(x: float, y: float, z: float) -> np.ndarray:
    """Rotation about x, then y, then z."""
    about_x = [[1, 0, 0], [0, np.cos(x), -np.sin(x)], [0, np.sin(x), np.cos(x)]]
    about_y = [[np.cos(y), 0, np.sin(y)], [0, 1, 0], [-np.sin(y), 0, np.cos(y)]]
    about_z = [[np.cos(z), -np.sin(z), 0], [np.sin(z), np.cos(z), 0], [0, 0, 1]]
    return np.array(about_z) @ about_y @ about_x


def itk_volume(folder: Path) -> nib.Nifti1Image:
    """HU on a RAS affine, of the series of a folder as ITK orders it."""
    reader = sitk.ImageSeriesReader()
    reader.SetFileNames(reader.GetGDCMSeriesFileNames(str(folder)))
    image = reader.Execute()
    affine = np.eye(4)
    affine[:3, :3] = np.reshape(image.GetDirection(), (3, 3)) * image.GetSpacing()
    affine[:3, 3] = image.GetOrigin()
    return nib.Nifti1Image(sitk.GetArrayFromImage(image).transpose(2, 1, 0).astype(np.float64), LPS_TO_RAS @ affine)


def dcm2niix_volume(program: str, folder: Path, out: Path) -> nib.Nifti1Image:
    """The one volume that dcm2niix makes of a folder."""
    shutil.rmtree(out, ignore_errors=True)
    out.mkdir()
    subprocess.run([program, "-b", "n", "-o", out, folder], check=True, capture_output=True, timeout=120)
    (path,) = out.glob("*.nii")
    image = nib.load(path)
    return nib.Nifti1Image(image.get_fdata(), image.affine)


def assert_same_place(mine: nib.Nifti1Image, oracle: nib.Nifti1Image) -> None:
    """The same values at the same millimetres, however the axes run; voxels outside the field of view are air to us."""
    mine, oracle = nib.as_closest_canonical(mine), nib.as_closest_canonical(oracle)
    np.testing.assert_array_equal(mine.get_fdata(), oracle.get_fdata().clip(-1024))
    corners = np.array([[i, j, k, 1] for i in (0, 1) for j in (0, 1) for k in (0, 1)]) * [*mine.shape, 1]
    np.testing.assert_allclose(corners @ mine.affine.T, corners @ oracle.affine.T, atol=TOLERANCE_MM)


def read_volume(path: Path) -> nib.Nifti1Image:
    image = read_ct(path)
    return nib.Nifti1Image(image.numpy()[0].astype(np.float64), np.asarray(image.affine))


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(geometry=geometries())
def test_every_plane_lies_where_simpleitk_sees_it(write_ct_series, geometry):
    with tempfile.TemporaryDirectory() as folder:
        write_ct_series(Path(folder), STORED, **geometry)
        assert_same_place(read_volume(Path(folder)), itk_volume(Path(folder)))


@pytest.mark.parametrize("signs", [(1, 1), (-1, 1), (1, -1), (-1, -1)])
@pytest.mark.parametrize("swapped", [False, True])
def test_every_plane_lies_where_dcm2niix_sees_it(write_ct_series, system_tool, tmp_path: Path, signs, swapped: bool):
    u, v, _ = _rotation(0.1, -0.2, 0.15).T
    u, v = (v, u) if swapped else (u, v)
    orientation = tuple(np.concatenate([signs[0] * u, signs[1] * v]).round(6).tolist())
    write_ct_series(tmp_path / "in", STORED, orientation=orientation, first_mm=(-123.25, 77.5, -310.125), step_mm=1.25)
    oracle = dcm2niix_volume(system_tool("dcm2niix"), tmp_path / "in", tmp_path / "out")
    assert_same_place(read_volume(tmp_path / "in"), oracle)


@pytest.mark.real
@pytest.mark.parametrize("archive", ["lidc_dicom.zip", "ct_chest_dicom.zip"])
def test_real_series_lie_where_both_see_them(shared_data: Path, tmp_path: Path, system_tool, archive: str):
    with zipfile.ZipFile(shared_data / archive) as content:
        content.extractall(tmp_path / "in")
    folders = sorted({path.parent for path in (tmp_path / "in").rglob("*.dcm")})
    assert len(folders) == {"lidc_dicom.zip": 4, "ct_chest_dicom.zip": 1}[archive]
    for folder in folders:
        mine = read_volume(folder)
        assert_same_place(mine, itk_volume(folder))
        assert_same_place(mine, dcm2niix_volume(system_tool("dcm2niix"), folder, tmp_path / "out"))
