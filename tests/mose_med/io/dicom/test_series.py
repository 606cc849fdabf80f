from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from mose_med.errors import ConfigError, DataError, GeometryError
from mose_med.io import list_series, read_ct, read_dicom

CORONAL = (1, 0, 0, 0, 0, -1)


@pytest.fixture
def stored() -> np.ndarray:
    return np.random.default_rng(0).integers(-1000, 1000, size=(20, 4, 5))


def described(path: Path, **options: str) -> list[str]:
    return [summary.description for summary in list_series(path, **options)]


def test_the_series_with_most_axial_slices_is_first(tmp_path: Path, write_ct_series, stored):
    write_ct_series(tmp_path / "a", stored[:8], SeriesDescription="short", ConvolutionKernel="STANDARD")
    write_ct_series(tmp_path / "b", stored[:12], SeriesDescription="long", ConvolutionKernel="BONE")
    write_ct_series(tmp_path / "c", stored, SeriesDescription="coronal", orientation=CORONAL)
    assert described(tmp_path) == ["long", "short", "coronal"]


def test_other_modalities_do_not_count(tmp_path: Path, write_ct_series, stored):
    write_ct_series(tmp_path / "ct", stored[:5], SeriesDescription="chest")
    for modality in ("PT", "MR", "SEG"):
        write_ct_series(tmp_path / modality, stored, Modality=modality)
    assert described(tmp_path) == ["chest"]
    assert read_ct(tmp_path).shape[-1] == 5


def test_of_series_of_much_the_same_length_the_kernel_decides(tmp_path: Path, write_ct_series, stored):
    for n, kernel in ((20, "SOFT"), (20, "BONE"), (19, "LUNG"), (18, "STANDARD"), (17, "B30f"), (20, "")):
        write_ct_series(tmp_path / f"{n}{kernel}", stored[:n], SeriesDescription=kernel, ConvolutionKernel=kernel)
    assert described(tmp_path) == ["STANDARD", "LUNG", "", "BONE", "SOFT", "B30f"]


def test_what_a_scanner_made_comes_before_what_was_derived(tmp_path: Path, write_ct_series, stored):
    derived = {"ImageType": ["DERIVED", "SECONDARY", "MIP"], "SeriesDescription": "slabs"}
    write_ct_series(tmp_path / "a", stored, ConvolutionKernel="STANDARD", **derived)
    write_ct_series(tmp_path / "b", stored, ConvolutionKernel="BONE", SeriesDescription="source")
    assert described(tmp_path) == ["source", "slabs"]


def test_of_like_series_the_thinner_slices_come_first(tmp_path: Path, write_ct_series, stored):
    for step in (1.25, 0.625, 5.0):
        write_ct_series(tmp_path / str(step), stored, step_mm=step, SeriesDescription=str(step))
    assert described(tmp_path) == ["0.625", "1.25", "5.0"]


def test_the_first_of_the_list_is_read_and_a_number_or_uid_names_another(tmp_path: Path, write_ct_series, stored):
    for n in (10, 20, 5):
        write_ct_series(tmp_path / str(n), stored[:n], SeriesInstanceUID=f"1.2.{n}")
    assert read_dicom(tmp_path).source.series_uid == "1.2.20"
    assert read_dicom(tmp_path, "2").source.series_uid == "1.2.10"
    assert read_dicom(tmp_path, "1.2.5").source.series_uid == "1.2.5"


@pytest.mark.parametrize("name", ["0", "3", "9.9", "", "-1", "²"])
def test_a_series_that_is_not_there_is_refused(tmp_path: Path, write_ct_series, stored, name: str):
    for n in (10, 20):
        write_ct_series(tmp_path / str(n), stored[:n])
    with pytest.raises(ConfigError, match=f"no CT series '{name}' in the input: .* or a number from 1 to 2"):
        read_ct(tmp_path, name)


def test_series_without_uid_have_numbers(tmp_path: Path, write_ct_series, stored):
    for n in (3, 5, 4):
        write_ct_series(tmp_path / str(n), stored[:n], SeriesInstanceUID="")
    assert [read_ct(tmp_path, name).shape[-1] for name in "123"] == [5, 4, 3]


def test_the_list_says_what_each_series_is(tmp_path: Path, write_ct_series, stored):
    write_ct_series(tmp_path, stored[:6], SeriesInstanceUID="1.2", SeriesDescription="thin", ConvolutionKernel="B30f")
    (summary,) = list_series(tmp_path)
    np.testing.assert_allclose(summary.spacing_mm, (0.6, 0.7, 2.0))
    assert summary._replace(spacing_mm=None) == (1, "1.2", "thin", "B30f", 6, None, "axial", "")


def test_the_list_says_why_a_series_cannot_be_read(tmp_path: Path, write_ct_series, edit_dicom, stored):
    write_ct_series(tmp_path / "coronal", stored[:4], orientation=CORONAL)
    write_ct_series(tmp_path / "two", stored[:2])
    write_ct_series(tmp_path / "gap", stored[:9])[4].unlink()
    (path, *_) = write_ct_series(tmp_path / "place", stored[:5])
    edit_dicom(path, ImageOrientationPatient=None)
    found = {summary.slices: (summary.orientation, summary.fault) for summary in list_series(tmp_path)}
    assert found[4][0] == "coronal"
    assert "is not axial" in found[4][1]
    assert "must have at least 3 slices, got 2" in found[2][1]
    assert "slices are missing between" in found[8][1]
    assert found[5][0] == "mixed"
    assert "has no usable ImageOrientationPatient" in found[5][1]


def test_the_list_heeds_the_options(tmp_path: Path, write_ct_series, stored):
    write_ct_series(tmp_path, stored[:9])[4].unlink()
    (summary,) = list_series(tmp_path, slice_spacing="resample")
    assert summary.fault == ""
    np.testing.assert_allclose(summary.spacing_mm, (0.6, 0.7, 2.0))


def test_the_list_names_no_patient(tmp_path: Path, write_ct_series, edit_dicom, stored):
    paths = write_ct_series(tmp_path, stored[:4])
    edit_dicom(paths[0], PatientID="Zyxwvut^Other")
    (summary,) = list_series(tmp_path)
    assert "must hold one patient, got 2" in summary.fault
    assert "Zyxwvut" not in str(summary)


def test_two_patients_are_refused_unless_a_series_of_one_is_named(tmp_path: Path, write_ct_series, stored):
    write_ct_series(tmp_path / "a", stored[:4], PatientID="A", SeriesInstanceUID="1.2.4")
    write_ct_series(tmp_path / "b", stored[:5], PatientID="B", SeriesInstanceUID="1.2.5")
    with pytest.raises(DataError, match=r"must hold one patient, got 2 \(a/image 001 and b/image 001\)"):
        read_ct(tmp_path)
    assert read_ct(tmp_path, "1.2.4").shape[-1] == 4


def test_a_faulty_series_that_is_first_is_refused_not_replaced(tmp_path: Path, write_ct_series, stored):
    write_ct_series(tmp_path / "first", stored)[7].unlink()
    write_ct_series(tmp_path / "second", stored[:9])
    with pytest.raises(GeometryError, match="slices are missing between first/image"):
        read_ct(tmp_path)
