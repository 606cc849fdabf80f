from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import SimpleITK

from data_prep.lidc.series import PHANTOM_DESCRIPTION, Series, find_series
from mose_med.errors import DataError

WriteSlice = Callable[..., np.ndarray]


@pytest.fixture
def patient(tmp_path: Path) -> Path:
    folder = tmp_path / "LIDC-IDRI-0001"
    folder.mkdir()
    return folder


def found(patient: Path) -> Series:
    series = find_series("LIDC-IDRI-0001", [patient], "1.2.3")
    assert series is not None
    return series


@pytest.mark.parametrize("layout", ["", "1.2/1.2.3", "01-01-2000-NA-NA-30178/3000566.000000-NA-03192"])
def test_any_folder_layout_is_found_and_sorted_by_z(patient: Path, write_ct_slice: WriteSlice, layout: str):
    for number, z_mm in enumerate((5.0, -2.5, 2.5, 0.0), start=1):
        write_ct_slice(patient / layout / f"{number}.dcm", z_mm=z_mm, number=number)
    assert [slice_file.z_mm for slice_file in found(patient).slices] == [-2.5, 0.0, 2.5, 5.0]


def test_other_series_and_other_files_are_passed_over(patient: Path, write_ct_slice: WriteSlice):
    write_ct_slice(patient / "a" / "1.dcm", z_mm=0.0)
    write_ct_slice(patient / "a" / "2.dcm", z_mm=0.0, series_uid="9.9", Modality="DX")
    (patient / "a" / "annotations.xml").write_text("<xml/>")
    (patient / "LICENSE").write_text("")
    assert [slice_file.header.file.name for slice_file in found(patient).slices] == ["a/1.dcm"]
    assert find_series("LIDC-IDRI-0001", [patient], "7.7") is None


def test_lower_instance_number_wins_where_z_is_the_same(patient: Path, write_ct_slice: WriteSlice, caplog):
    for number in (7, 3, 5):
        write_ct_slice(patient / f"{number}.dcm", z_mm=1.0, number=number)
    series = found(patient)
    assert [slice_file.header.instance_number for slice_file in series.slices] == [3]
    assert series.num_duplicates == 2
    assert "LIDC-IDRI-0001: two slices at z = 1 mm, kept the lower instance number" in caplog.text


@pytest.mark.parametrize("orientation", [(1, 1), (-1, 1), (1, -1), (-1, -1)])
def test_hu_and_place_equal_simpleitks(patient: Path, write_ct_slice: WriteSlice, orientation: tuple[int, int]):
    row_sign, col_sign = orientation
    cosines = [row_sign, 0, 0, 0, col_sign, 0]
    write_ct_slice(patient / "1.dcm", z_mm=3.0, ImageOrientationPatient=cosines, RescaleSlope=2)
    series = found(patient)
    hu = series.read_hu(series.slices[0])
    affine = series.affine(3.0, 2.5)
    expected = SimpleITK.ReadImage(str(patient / "1.dcm"))
    for i, j in np.ndindex(hu.shape):
        right, anterior, superior, _ = affine @ [i, j, 0, 1]
        index = expected.TransformPhysicalPointToIndex((-right, -anterior, superior))
        assert hu[i, j] == expected[index]
    assert affine[0, 0] < 0
    assert affine[1, 1] < 0


def test_points_follow_their_pixels(patient: Path, write_ct_slice: WriteSlice):
    stored = write_ct_slice(patient / "1.dcm", z_mm=0.0, ImageOrientationPatient=[-1, 0, 0, 0, 1, 0])
    series = found(patient)
    i, j = series.oriented_point(row=4, col=1)
    assert series.oriented(stored)[int(i), int(j)] == stored[4, 1]


def test_nearest_slice_lies_within_the_limit(patient: Path, write_ct_slice: WriteSlice):
    for number, z_mm in enumerate((0.0, 2.5), start=1):
        write_ct_slice(patient / f"{number}.dcm", z_mm=z_mm, number=number)
    series = found(patient)
    assert series.nearest(2.4, within_mm=1.25) == series.slices[1]
    assert series.nearest(5.0, within_mm=1.25) is None


def test_ct_without_modality_is_taken(patient: Path, write_ct_slice: WriteSlice):
    write_ct_slice(patient / "1.dcm", z_mm=0.0, Modality=None)
    assert not found(patient).is_phantom


def test_phantom_is_recognised(patient: Path, write_ct_slice: WriteSlice):
    write_ct_slice(patient / "1.dcm", z_mm=0.0, SeriesDescription=PHANTOM_DESCRIPTION)
    assert found(patient).is_phantom


@pytest.mark.parametrize(
    ("tags", "message"),
    [
        ({"Modality": "MR"}, "LIDC-IDRI-0001: no CT image among 1 DICOM files: Modality must be CT, got MR"),
        ({"ImagePositionPatient": None}, r"LIDC-IDRI-0001: 1\.dcm has no usable position"),
        ({"PixelSpacing": None}, r"LIDC-IDRI-0001: 1\.dcm has no usable pixel spacing"),
        ({"ImageOrientationPatient": [1, 0, 0, 0, 0, -1]}, r"1\.dcm must be axial, got ImageOrientationPatient \[1"),
        (
            {"ImageOrientationPatient": [1, 0, 0, 0, 0.97, -0.25]},
            r"1\.dcm must be axial, got .*\(gantry tilt of 14\.\d degrees\)",
        ),
    ],
)
def test_unusable_series_is_named(patient: Path, write_ct_slice: WriteSlice, tags: dict[str, object], message: str):
    write_ct_slice(patient / "1.dcm", z_mm=0.0, **tags)
    with pytest.raises(DataError, match=message):
        find_series("LIDC-IDRI-0001", [patient], "1.2.3")


def test_slices_of_different_grids_are_refused(patient: Path, write_ct_slice: WriteSlice):
    write_ct_slice(patient / "1.dcm", z_mm=0.0)
    write_ct_slice(patient / "2.dcm", z_mm=2.5, PixelSpacing=[0.7, 0.7])
    with pytest.raises(
        DataError, match=r"LIDC-IDRI-0001: 2\.dcm and 1\.dcm of one series differ in size, spacing or position"
    ):
        find_series("LIDC-IDRI-0001", [patient], "1.2.3")


def test_slices_pushed_sideways_are_named(patient: Path, write_ct_slice: WriteSlice):
    write_ct_slice(patient / "1.dcm", z_mm=0.0)
    write_ct_slice(patient / "2.dcm", z_mm=2.5, ImagePositionPatient=[-10, -19.4, 2.5])
    with pytest.raises(DataError, match=r"spacing or position \(slices pushed sideways, as gantry tilt"):
        found(patient)


@pytest.mark.parametrize("name", ["1.2.3", "ct"])
def test_a_series_behind_links_is_found_once(patient: Path, write_ct_slice: WriteSlice, tmp_path: Path, name: str):
    write_ct_slice(tmp_path / "store" / name / "1.dcm", z_mm=0.0)
    for link in ("a", "b"):
        (patient / link).symlink_to(tmp_path / "store")
    series = found(patient)
    assert (len(series.slices), series.num_duplicates) == (1, 0)


def test_flat_downloads_have_a_folder_for_each_series(tmp_path: Path, write_ct_slice: WriteSlice):
    write_ct_slice(tmp_path / "DX_9.9" / "1.dcm", z_mm=0.0, series_uid="9.9", Modality="DX")
    write_ct_slice(tmp_path / "CT_1.2.3" / "1.dcm", z_mm=0.0)
    folders = [tmp_path / "DX_9.9", tmp_path / "CT_1.2.3"]
    series = find_series("LIDC-IDRI-0001", folders, "1.2.3")
    assert series is not None
    assert len(series.slices) == 1
    assert find_series("LIDC-IDRI-0001", folders, "7.7") is None


def test_padding_is_air(patient: Path, write_ct_slice: WriteSlice):
    stored = write_ct_slice(patient / "1.dcm", z_mm=0.0)
    write_ct_slice(patient / "1.dcm", z_mm=0.0, PixelPaddingValue=int(stored[2, 3]), RescaleIntercept=0)
    series = found(patient)
    assert series.read_hu(series.slices[0])[3, 2] == -1024


def test_padding_without_a_tag_is_air(patient: Path, write_ct_slice: WriteSlice):
    write_ct_slice(patient / "1.dcm", z_mm=0.0, RescaleIntercept=-3024)
    series = found(patient)
    assert series.read_hu(series.slices[0]).min() == -1024


def test_damaged_pixels_are_named(patient: Path, write_ct_slice: WriteSlice):
    write_ct_slice(patient / "1.dcm", z_mm=0.0, Rows=600)
    series = found(patient)
    with pytest.raises(DataError, match=r"LIDC-IDRI-0001: pixel data of 1\.dcm .*cannot be decoded"):
        series.read_hu(series.slices[0])
