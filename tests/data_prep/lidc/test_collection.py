from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from data_prep.lidc.annotations import read_scans
from data_prep.lidc.collection import CropOptions, NoduleCrop, PatientFaults, crop_patient, find_patients
from mose_med.errors import ConfigError, DataError

PATIENT = "LIDC-IDRI-0250"


def crops(folder: Path, met: PatientFaults, patient: str = PATIENT, **options: Any) -> list[NoduleCrop]:
    return list(crop_patient([folder], read_scans([patient]), CropOptions(**options), met))


def test_patients_are_the_folders_of_the_database(tmp_path: Path):
    for name in ("LIDC-IDRI-0003", "LIDC-IDRI-0001", "LIDC-IDRI-9999", "notes"):
        (tmp_path / name).mkdir()
    assert list(find_patients(tmp_path)) == ["LIDC-IDRI-0001", "LIDC-IDRI-0003"]


@pytest.mark.parametrize("layout", ["manifest-1/LIDC-IDRI/{patient}", "lidc_idri/{study}", "CT_{series}", "x/{series}"])
def test_patients_are_found_in_any_download_layout(tmp_path: Path, layout: str):
    (scan,) = read_scans([PATIENT])
    folder = tmp_path / layout.format(patient=PATIENT, study=scan.study_uid, series=scan.series_uid)
    folder.mkdir(parents=True)
    assert find_patients(tmp_path) == {PATIENT: (folder,)}


def test_a_patient_and_links_to_it_are_one_folder(tmp_path: Path):
    (tmp_path / "a" / PATIENT).mkdir(parents=True)
    (tmp_path / "b").symlink_to(tmp_path / "a")
    (tmp_path / PATIENT).symlink_to(tmp_path / "a" / PATIENT)
    assert [len(paths) for paths in find_patients(tmp_path).values()] == [1]


def test_a_broken_link_of_a_patient_is_named(tmp_path: Path):
    (tmp_path / PATIENT).symlink_to(tmp_path / "gone")
    with pytest.raises(ConfigError, match=f"{PATIENT} is a broken link: restore its target"):
        find_patients(tmp_path)


def test_missing_root_is_named(tmp_path: Path):
    with pytest.raises(ConfigError, match=r"lidc_root .*nowhere is not a folder"):
        find_patients(tmp_path / "nowhere")


def test_archive_is_to_be_unpacked(tmp_path: Path):
    (tmp_path / "lidc.zip").write_bytes(b"PK")
    with pytest.raises(ConfigError, match=r"lidc\.zip is not a folder: unpack it, and name the one that holds LIDC"):
        find_patients(tmp_path / "lidc.zip")


def test_root_without_patients_is_named(tmp_path: Path):
    with pytest.raises(ConfigError, match="has no patient of LIDC-IDRI: name the folder that holds LIDC-IDRI-0001"):
        find_patients(tmp_path)


def test_all_nodules_of_a_patient_are_cut_out(phantom_lidc_root: Path):
    met = PatientFaults()
    found = crops(phantom_lidc_root / PATIENT, met)
    assert [(len(crop.nodule.annotations), crop.num_slices) for crop in found] == [(4, 5), (4, 6), (2, 3)]
    assert all(crop.is_phantom for crop in found)
    assert not +met.left_out


def test_few_raters_are_left_out_and_counted(phantom_lidc_root: Path):
    met = PatientFaults()
    assert len(crops(phantom_lidc_root / PATIENT, met, min_raters=3)) == 2
    assert met.left_out["nodules_below_min_raters"] == 1


def test_patient_without_files_is_named(tmp_path: Path):
    with pytest.raises(DataError, match=f"{PATIENT}: no DICOM file among 0 files"):
        crops(tmp_path, PatientFaults())


def test_patient_without_the_series_is_named(phantom_lidc_root: Path):
    with pytest.raises(DataError, match=r"LIDC-IDRI-0159: no CT image of series 1\.3\.6.* in its folder"):
        crops(phantom_lidc_root / PATIENT, PatientFaults(), patient="LIDC-IDRI-0159")


def test_one_scan_of_two_is_enough(phantom_lidc_root: Path, tmp_path: Path, caplog):
    """The first scan's files are there under the second patient's folder; the other scan is not."""
    first, second = read_scans([PATIENT]), read_scans(["LIDC-IDRI-0159"])
    met = PatientFaults()
    found = list(crop_patient([phantom_lidc_root / PATIENT], [*first, *second], CropOptions(), met))
    assert len(found) == 3
    assert met.left_out["scans_not_on_disk"] == 1
    assert f"series {second[0].series_uid} is not on disk" in caplog.text


def test_centre_is_the_middle_voxel_of_the_window(phantom_lidc_root: Path):
    for crop in crops(phantom_lidc_root / PATIENT, PatientFaults()):
        x_mm, y_mm, z_mm = crop.centre_mm
        run = crop.runs[0]
        assert (x_mm, y_mm) == pytest.approx(tuple((run.affine @ [64, 64, 0, 1])[:2]))
        assert z_mm in run.z_mm
