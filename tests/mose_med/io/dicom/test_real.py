from __future__ import annotations

import shutil
import zipfile
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk  # noqa: N813

from mose_med.errors import GeometryError
from mose_med.geometry import LPS_TO_RAS
from mose_med.io import read_ct

pytestmark = pytest.mark.real


@pytest.fixture(scope="module")
def edge_dicom(shared_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("edge")
    with zipfile.ZipFile(shared_data / "edge_dicom.zip") as archive:
        archive.extractall(folder)
    (root,) = [path.parent for path in folder.rglob("minimal_tags")]
    return root


def test_chest_ct_equals_simpleitk(shared_data: Path, tmp_path: Path):
    with zipfile.ZipFile(shared_data / "ct_chest_dicom.zip") as archive:
        archive.extractall(tmp_path)
    (folder,) = {path.parent for path in tmp_path.rglob("*.dcm")}
    assert "  " in folder.name
    reader = sitk.ImageSeriesReader()
    reader.SetFileNames(reader.GetGDCMSeriesFileNames(str(folder)))
    oracle, image = reader.Execute(), read_ct(shared_data / "ct_chest_dicom.zip")
    assert image.shape == (1, 512, 512, 60)
    np.testing.assert_array_equal(image.numpy()[0], sitk.GetArrayFromImage(oracle).transpose(2, 1, 0))
    for index in [(0, 0, 0), (511, 0, 59), (100, 300, 7)]:
        point = LPS_TO_RAS[:3, :3] @ oracle.TransformIndexToPhysicalPoint(index)
        np.testing.assert_allclose((np.asarray(image.affine) @ [*index, 1])[:3], point, atol=1e-4)


def test_jpeg_2000_without_uids_is_read(edge_dicom: Path):
    image = read_ct(edge_dicom / "jpeg2000_series")
    assert image.shape == (1, 512, 512, 20)
    np.testing.assert_allclose(np.asarray(image.affine)[2, 2], 2.0)
    assert image.min() >= -1024
    assert image.max() > 200


def test_two_slices_are_refused(edge_dicom: Path):
    with pytest.raises(GeometryError, match="must have at least 3 slices, got 2"):
        read_ct(edge_dicom / "minimal_tags")


def test_slices_that_are_not_axial_are_refused(edge_dicom: Path, tmp_path: Path):
    for path in (edge_dicom / "non_axial").iterdir():
        if "axial" not in path.name:
            (tmp_path / path.stem).mkdir()
            shutil.copy(path, tmp_path / path.stem)
            with pytest.raises(GeometryError, match=f"{path.name} is not axial"):
                read_ct(tmp_path / path.stem)


def test_of_a_mixed_folder_the_largest_axial_series_is_read(edge_dicom: Path):
    np.testing.assert_array_equal(read_ct(edge_dicom).affine, read_ct(edge_dicom / "jpeg2000_series").affine)
