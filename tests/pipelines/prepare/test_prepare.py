from __future__ import annotations

import hashlib
import json
import shutil
from dataclasses import replace
from pathlib import Path

import nibabel as nib
import numpy as np
import pydicom
import pytest

from data_prep.lidc.collection import CropOptions
from mose_med.data.datalist import load_datalist
from mose_med.errors import ConfigError, DataError
from pipelines.prepare.sources.lidc import PrepareLidcOptions, prepare_lidc
from pipelines.prepare.sources.phantom import PreparePhantomOptions, prepare_phantom


@pytest.fixture
def options(phantom_lidc_root: Path, phantom_split_csv: Path, tmp_path: Path) -> PrepareLidcOptions:
    return PrepareLidcOptions(phantom_lidc_root, tmp_path / "out", split_csv=phantom_split_csv, quiet=True)


def digests(folder: Path) -> dict[str, str]:
    files = [path for path in folder.rglob("*") if path.is_file() and path.parent.name != "private"]
    return {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def test_datalist_is_valid_and_split_by_patient(prepared_datalist: Path):
    datalist = load_datalist(prepared_datalist)
    patients = {part: {entry.patient_id for entry in entries} for part, entries in datalist.parts.items()}
    assert patients == {"training": {"LIDC-IDRI-0250"}, "validation": {"LIDC-IDRI-0159"}, "test": {"LIDC-IDRI-0131"}}
    assert [len(datalist.part(part)) for part in ("training", "validation", "test")] == [14, 9, 9]
    assert (datalist.num_raters, datalist.classes) == (4, ("background", "nodule"))
    assert datalist.source.startswith("PHANTOM")


def test_entries_point_to_slices_of_their_volumes(prepared_datalist: Path):
    for entry in load_datalist(prepared_datalist).part("training"):
        image, label = nib.load(entry.image), nib.load(entry.label)
        assert image.shape[:2] == (128, 128)
        assert label.shape == (*image.shape, 4)
        assert (image.get_data_dtype(), label.get_data_dtype()) == (np.int16, np.uint8)
        np.testing.assert_array_equal(image.affine, label.affine)
        assert nib.aff2axcodes(image.affine) == ("L", "P", "S")
        assert (image.affine @ [0, 0, entry.slice_index, 1])[2] == pytest.approx(entry.z_mm)
        assert sum(entry.rater_weights) == 1


def test_crop_shows_the_dicom_slice_at_its_place(prepared_datalist: Path, phantom_lidc_root: Path):
    entry = load_datalist(prepared_datalist).part("training")[3]
    image = nib.load(entry.image)
    files = [pydicom.dcmread(path) for path in (phantom_lidc_root / entry.patient_id).rglob("*.dcm")]
    source = min(files, key=lambda file: abs(file.ImagePositionPatient[2] - entry.z_mm))
    right, anterior, _, _ = image.affine @ [10, 100, entry.slice_index, 1]
    col = (-right - source.ImagePositionPatient[0]) / source.PixelSpacing[1]
    row = (-anterior - source.ImagePositionPatient[1]) / source.PixelSpacing[0]
    expected = source.pixel_array[round(row), round(col)] + source.RescaleIntercept
    assert image.dataobj[10, 100, entry.slice_index] == expected


def test_nodule_list_gives_the_place_of_every_window(prepared_datalist: Path):
    lines = (prepared_datalist.parent / "nodules.csv").read_text().splitlines()
    assert lines[0] == "nodule_id,patient_id,series_uid,part,raters,slices,x_ras_mm,y_ras_mm,z_ras_mm"
    assert len(lines) == 8
    nodule_id, *_, x_mm, y_mm, _ = lines[1].split(",")
    affine = nib.load(prepared_datalist.parent / "nodules" / f"{nodule_id}.nii").affine
    np.testing.assert_allclose((affine @ [64, 64, 0, 1])[:2], [float(x_mm), float(y_mm)], atol=1e-3)


def test_manifest_has_versions_counts_and_hashes(prepared_datalist: Path):
    manifest = json.loads((prepared_datalist.parent / "manifest.json").read_text())
    on_disk = digests(prepared_datalist.parent)
    del on_disk["manifest.json"]
    assert manifest["sha256"] == on_disk
    assert "montage.png" in on_disk
    assert manifest["versions"]["pylidc"] == "0.2.3"
    assert manifest["counts"]["slices_by_part"] == {"training": 14, "validation": 9, "test": 9}
    assert manifest["counts"]["nodules_by_raters"] == {"1": 1, "2": 2, "3": 1, "4": 3}


def test_same_options_give_the_same_bytes(options: PrepareLidcOptions, prepared_datalist: Path):
    prepare_lidc(options)
    assert digests(options.output_dir) == digests(prepared_datalist.parent)


def test_run_again_is_done_at_once(options: PrepareLidcOptions, monkeypatch, caplog):
    first = prepare_lidc(options)
    monkeypatch.setattr("data_prep.lidc.patient.crop_patient", None)
    with caplog.at_level("INFO"):
        assert prepare_lidc(options) == first
    assert "is already prepared" in caplog.text


@pytest.fixture
def copied(options: PrepareLidcOptions, tmp_path: Path) -> PrepareLidcOptions:
    """Options for a copy of the root that lacks a patient, and are split by hash."""
    root = shutil.copytree(options.lidc_root, tmp_path / "LIDC-IDRI")
    first, *_ = sorted(root.iterdir())
    first.rename(tmp_path / first.name)
    return replace(options, lidc_root=root, split_csv=None, split_salt="1", fractions=(0.5, 0.5, 0.0))


def test_a_patient_who_was_added_is_seen(copied: PrepareLidcOptions, tmp_path: Path):
    prepare_lidc(copied)
    late = next(tmp_path.glob("LIDC-IDRI-*"))
    late.rename(copied.lidc_root / late.name)
    with pytest.raises(
        ConfigError, match=f"was made from other files: {late.name} is new: name another or add --overw"
    ):
        prepare_lidc(copied)
    assert prepare_lidc(replace(copied, overwrite=True)).counts["patients"] == 3


def test_a_slice_that_was_added_or_replaced_is_seen(copied: PrepareLidcOptions):
    prepare_lidc(copied)
    patient = sorted(copied.lidc_root.iterdir())[0]
    file = next(patient.rglob("*.dcm"))
    shutil.copyfile(file, file.with_name("again.dcm"))
    with pytest.raises(ConfigError, match=f"was made from other files: {patient.name} has changed: name"):
        prepare_lidc(copied)
    file.with_name("again.dcm").unlink()
    file.touch()
    with pytest.raises(ConfigError, match=f"was made from other files: {patient.name} has changed: name"):
        prepare_lidc(copied)


def test_other_options_are_refused_unless_overwritten(options: PrepareLidcOptions):
    prepare_lidc(options)
    fewer = replace(options, crops=CropOptions(min_raters=4))
    with pytest.raises(ConfigError, match="was made with min_raters=1, not 4: name another or add --overwrite"):
        prepare_lidc(fewer)
    counts = prepare_lidc(
        replace(fewer, split_csv=options.split_csv, overwrite=True, crops=CropOptions(min_raters=2))
    ).counts
    assert counts["left_out"]["nodules_below_min_raters"] == 1


def test_patients_that_the_split_does_not_name_are_left_out(options: PrepareLidcOptions, tmp_path: Path):
    some = tmp_path / "some.csv"
    some.write_text("patient_id,part\nLIDC-IDRI-0159,training\nLIDC-IDRI-0131,validation\nLIDC-IDRI-0001,test\n")
    counts = prepare_lidc(replace(options, split_csv=some)).counts
    assert counts["patients"] == 2
    assert counts["left_out"]["patients_not_in_split"] == 1


def test_empty_part_is_refused_and_nothing_written(options: PrepareLidcOptions, tmp_path: Path):
    split = tmp_path / "split.csv"
    split.write_text("patient_id,part\nLIDC-IDRI-0250,training\nLIDC-IDRI-0159,test\n")
    with pytest.raises(ConfigError, match="validation part has no patient, of 2 in all: use another --split-salt"):
        prepare_lidc(replace(options, split_csv=split))
    assert not options.output_dir.exists()


def test_no_nodule_is_refused_and_nothing_stays(options: PrepareLidcOptions, tmp_path: Path):
    split = tmp_path / "split.csv"
    split.write_text("patient_id,part\nLIDC-IDRI-0131,training\nLIDC-IDRI-0159,validation\n")
    with pytest.raises(ConfigError, match="training part has no annotated slice"):
        prepare_lidc(replace(options, split_csv=split, crops=CropOptions(min_raters=4)))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["split.csv"]


def test_patient_without_files_leaves_nothing_behind(options: PrepareLidcOptions, tmp_path: Path):
    root = tmp_path / "root"
    root.mkdir()
    for patient in ("LIDC-IDRI-0250", "LIDC-IDRI-0131"):
        (root / patient).symlink_to(options.lidc_root / patient)
    (root / "LIDC-IDRI-0159").mkdir()
    with pytest.raises(DataError, match="LIDC-IDRI-0159: no DICOM file among 0 files"):
        prepare_lidc(replace(options, lidc_root=root))
    assert [path.name for path in tmp_path.iterdir()] == ["root"]


def test_phantom_run_again_is_done_at_once(phantom_lidc_root: Path, monkeypatch):
    monkeypatch.setattr("pipelines.prepare.sources.phantom.render_scan", None)
    patients = tuple(sorted(path.name for path in phantom_lidc_root.iterdir() if path.is_dir()))
    options = PreparePhantomOptions(phantom_lidc_root, patients=patients, margin_slices=1, quiet=True)
    assert prepare_phantom(options) == phantom_lidc_root


def test_phantom_of_an_unknown_patient_is_refused(tmp_path: Path):
    with pytest.raises(ConfigError, match="patient nobody has no annotated nodule in LIDC-IDRI"):
        prepare_phantom(PreparePhantomOptions(tmp_path / "out", patients=("nobody",)))
    assert not (tmp_path / "out").exists()


def test_split_file_of_other_patients_is_named(options: PrepareLidcOptions, tmp_path: Path):
    split = tmp_path / "split.csv"
    split.write_text("patient_id,part\n0250,training\n0159,validation\n")
    with pytest.raises(ConfigError, match="names none of the 3 patients: it names 0250, there is LIDC-IDRI-0131"):
        prepare_lidc(replace(options, split_csv=split))


def test_log_tells_what_was_prepared(options: PrepareLidcOptions, caplog):
    with caplog.at_level("INFO"):
        prepare_lidc(options)
    assert "out holds 32 slices: 14 for training, 9 for validation, 9 for test" in caplog.text
