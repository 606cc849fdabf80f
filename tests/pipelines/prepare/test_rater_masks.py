from __future__ import annotations

import json
import re
import shutil
import stat
from dataclasses import replace
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from mose_med.data import MultiRaterDataset, load_datalist
from mose_med.data.datalist import PARTS
from mose_med.errors import ConfigError, DataError, GeometryError
from mose_med.preprocessing import Preprocessing
from pipelines.cli import invoke
from pipelines.common.command_line.console import ExitCode
from pipelines.models.held_out import require_held_out
from pipelines.prepare.sources.rater_masks import PrepareRaterMasksOptions, prepare_rater_masks
from tests.fixtures.rater_masks import rated_arrays


@pytest.fixture
def options(rater_masks_root: Path, tmp_path: Path) -> PrepareRaterMasksOptions:
    out = tmp_path / "out"
    return PrepareRaterMasksOptions(
        rater_masks_root, out, roi_size=(16, 16), keep_ids=True, fractions=(0.5, 0.5, 0), quiet=True
    )


def test_datalist_is_what_training_reads(options: PrepareRaterMasksOptions, rater_masks_root: Path):
    result = prepare_rater_masks(options)
    datalist = load_datalist(result.datalist)
    entries = {(e.nodule_id, e.slice_index): e for part in datalist.parts.values() for e in part}
    assert sorted(entries) == [(f"case-{n}_lesion-1", k) for n in range(6) for k in range(2)]
    assert entries["case-0_lesion-1", 0].rater_weights == (0.5, 0.5)
    assert entries["case-0_lesion-1", 0].raters_present == 2
    assert entries["case-0_lesion-1", 1].raters_present == 1
    assert entries["case-3_lesion-1", 0].rater_weights == (1.0, 0.0)
    item = MultiRaterDataset([entries["case-0_lesion-1", 0]], Preprocessing(roi_size=(16, 16), standardise=False))[0]
    source = nib.load(rater_masks_root / "case-0" / "image.nii.gz")
    # The source is LPS already, and the window begins at (2, 0) on slice 2.
    np.testing.assert_array_equal(item["image"][0], source.dataobj[2:18, 0:16, 2])
    assert item["label"].sum(dim=(1, 2)).tolist() == [16, 16]


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        (
            "acquisition",
            2,
            "acquisition applies only to DICOM images, got 2 for volumes in one file each: leave it out",
        ),
        ("layer", "nodule", r"layer applies only to .*\.nrrd.*\.dcm.*, got 'nodule' for other masks: leave it out"),
    ],
)
def test_an_option_that_no_file_can_follow_is_refused(
    name: str, value: object, message: str, options: PrepareRaterMasksOptions
):
    for drawn in options.source.rglob("rater-*.nrrd"):
        drawn.rename(drawn.with_suffix(".nii"))  # of one layer, whatever it holds
    with pytest.raises(ConfigError, match=message):
        prepare_rater_masks(replace(options, **{name: value}))
    assert not options.output_dir.exists()


def test_overwrite_with_the_same_options_prepares_again(options: PrepareRaterMasksOptions):
    result = prepare_rater_masks(options)
    before = result.datalist.stat().st_mtime_ns
    partial = options.output_dir.with_name(".out.partial")
    partial.mkdir()
    (partial / "options.json").write_bytes((options.output_dir / "options.json").read_bytes())
    (partial / "half.nii").touch()  # as a run that was killed leaves it
    again = prepare_rater_masks(replace(options, overwrite=True))
    assert again.datalist.stat().st_mtime_ns > before
    assert not list(options.output_dir.rglob("half.nii"))


def test_overwriting_keeps_the_names_of_cases_and_patients(options: PrepareRaterMasksOptions):
    options = replace(options, keep_ids=False)
    before, after = (
        json.loads(prepare_rater_masks(options).datalist.read_text())
        for options in (options, replace(options, name="again", overwrite=True))
    )
    assert after["name"] == "again"
    for name in ("nodule_id", "patient_id"):
        ids = [{entry[name] for part in PARTS for entry in content[part]} for content in (before, after)]
        assert ids[0] == ids[1]


def test_overwriting_with_plain_ids_leaves_no_key(options: PrepareRaterMasksOptions):
    prepare_rater_masks(replace(options, keep_ids=False))
    prepare_rater_masks(replace(options, overwrite=True))
    assert not (options.output_dir / "private" / "case.key").exists()


def test_what_there_is_stays_if_overwriting_it_fails(options: PrepareRaterMasksOptions, rater_masks_root: Path):
    options = replace(options, keep_ids=False)
    prepare_rater_masks(options)
    before = {path: path.read_bytes() for path in options.output_dir.rglob("*") if path.is_file()}
    (rater_masks_root / "case-3" / "rater-a.nii.gz").write_bytes(b"damaged")
    with pytest.raises(DataError, match="case-3"):
        prepare_rater_masks(replace(options, overwrite=True))
    assert {path: path.read_bytes() for path in options.output_dir.rglob("*") if path.is_file()} == before
    assert not list(options.output_dir.parent.glob(".*"))


def test_windows_lie_at_their_place(options: PrepareRaterMasksOptions, rater_masks_root: Path):
    entry = load_datalist(prepare_rater_masks(options).datalist).part("training")[0]
    image, source = nib.load(entry.image), nib.load(rater_masks_root / entry.patient_id / "image.nii.gz")
    i, j, k, _ = np.rint(np.linalg.inv(source.affine) @ image.affine @ [5, 7, entry.slice_index, 1]).astype(int)
    assert image.dataobj[5, 7, entry.slice_index] == source.dataobj[i, j, k]
    assert nib.aff2axcodes(image.affine) == ("L", "P", "S")


def test_patients_are_split(options: PrepareRaterMasksOptions, tmp_path: Path):
    split = tmp_path / "split.csv"
    split.write_text("patient_id,part\ncase-0,training\ncase-1,validation\ncase-5,test\n")
    counts = prepare_rater_masks(replace(options, split_csv=split)).counts
    assert counts["slices_by_part"] == {"training": 2, "validation": 2, "test": 2}
    assert counts["patients"] == 3


def test_patients_that_only_one_side_names_are_told(options: PrepareRaterMasksOptions, tmp_path: Path, caplog):
    (options.source / "case-0").rename(options.source / "Ju\u0308rgen")
    rows = ["J\u00fcrgen,training", "case-1,validation", "case-02,training"]
    (tmp_path / "split.csv").write_text("\n".join(["patient_id,part", *rows]), encoding="utf-8")
    result = prepare_rater_masks(replace(options, split_csv=tmp_path / "split.csv"))
    assert result.counts["patients"] == 2
    assert result.counts["left_out"]["patients_not_in_split"] == 4
    assert "4 patients are not in split file" in caplog.text
    assert "1 that it names are not there: are names written alike" in caplog.text


def test_an_image_of_two_patients_is_refused(options: PrepareRaterMasksOptions, tmp_path: Path):
    shutil.copy(options.source / "case-1" / "image.nii.gz", options.source / "case-4" / "image.nii.gz")
    with pytest.raises(ConfigError, match="cases case-1 and case-4 have the same image, but are of two patients"):
        prepare_rater_masks(options)
    assert not options.output_dir.exists()
    rows = [f"case-{n},cases/case-{n}/image.nii.gz,a,cases/case-{n}/rater-a.nrrd,p{n % 3}" for n in range(6)]
    (tmp_path / "cases.csv").write_text("\n".join(["case,image,rater,mask,patient", *rows]))
    options = replace(options, source=tmp_path / "cases.csv", split_salt="1")
    assert prepare_rater_masks(options).counts["cases"] == 6


@pytest.mark.parametrize("name", ["../escaped", "site/p1", ".."])
def test_names_that_lead_elsewhere_are_not_kept(options: PrepareRaterMasksOptions, tmp_path: Path, name: str):
    image, mask = (options.source / "case-0" / f"{file}.nii.gz" for file in ("image", "rater-a"))
    (tmp_path / "cases.csv").write_text(f"case,image,rater,mask\n{name},{image},a,{mask}\n")
    with pytest.raises(ConfigError, match=f"case {name} must be a plain file name to be kept: rename it, or leave out"):
        prepare_rater_masks(replace(options, source=tmp_path / "cases.csv"))
    assert not options.output_dir.exists()


def test_objects_that_no_mask_has_after_resampling_are_left_out(
    options: PrepareRaterMasksOptions, write_volume, tmp_path: Path, caplog
):
    mask = np.zeros((24, 20, 6), np.uint8)
    mask[11, 11, 1] = 1
    for case in ("case-0", "case-1", "case-2"):
        next((options.source / case).glob("rater-b*")).unlink()
        next((options.source / case).glob("rater-a*")).unlink()
        write_volume(options.source / case / "rater-a.nrrd", mask)
        mask[4:9, 4:9, 4] = 1  # the next ones have a second object, which stays
    (tmp_path / "split.csv").write_text("patient_id,part\ncase-0,training\ncase-1,training\ncase-2,validation\n")
    result = prepare_rater_masks(replace(options, spacing_mm=2.4, split_csv=tmp_path / "split.csv"))
    assert (result.counts["objects"], result.counts["left_out"]["objects_without_a_voxel"]) == (2, 3)
    assert "3 objects are left out, no mask has a voxel of them in the window" in caplog.text


def test_a_part_whose_objects_are_lost_in_the_window_is_refused_with_the_cause(options: PrepareRaterMasksOptions):
    with pytest.raises(ConfigError, match=r"training part has no annotated slice, .* its . objects .*: use a finer"):
        prepare_rater_masks(replace(options, spacing_mm=40.0))


def test_cases_and_parts_without_an_outline_are_told(
    options: PrepareRaterMasksOptions, write_volume, tmp_path: Path, caplog
):
    for mask in (options.source / "case-2").glob("rater-*"):
        write_volume(mask, np.zeros((24, 20, 6), np.uint8))
    rows = ["case-0,training", "case-1,validation", "case-2,test"]
    (tmp_path / "split.csv").write_text("\n".join(["patient_id,part", *rows]))
    with caplog.at_level("INFO"):
        prepare_rater_masks(replace(options, split_csv=tmp_path / "split.csv"))
    assert "cases in which no rater drew anything are left out: 1" in caplog.text
    assert "the test part has no annotated slice: another --split-salt or --split may give it some" in caplog.text


def test_a_part_that_nobody_asked_for_may_be_empty(options: PrepareRaterMasksOptions, caplog):
    prepare_rater_masks(options)
    assert "no annotated slice" not in caplog.text


def test_report_of_agreement_is_written(options: PrepareRaterMasksOptions):
    result = prepare_rater_masks(options)
    names = {path.name for path in options.output_dir.iterdir()}
    assert {"agreement_pairs.csv", "agreement_volumes.csv", "agreement_kappa.csv", "agreement.png"} <= names
    assert {"montage.png", "nodules.csv", "manifest.json"} <= names
    lines = (options.output_dir / "agreement_pairs.csv").read_text().splitlines()
    assert lines[1] == "case-0,lesion,1,2,0.500000,0.333333"
    assert 0 < result.counts["fleiss_kappa"] < 1


def test_ids_are_pseudonyms_unless_kept(rater_masks_root: Path, tmp_path: Path):
    for number in range(6):
        (rater_masks_root / f"case-{number}").rename(rater_masks_root / f"Jane Doe {number}")
    arguments = ["prepare", "rater-masks", str(rater_masks_root), "--output-dir", str(tmp_path / "out"), "--crop", "16"]
    assert invoke([*arguments, "--quiet", "--split-salt", "1"]) == ExitCode.DONE
    out = tmp_path / "out"
    public = [path for path in out.rglob("*") if path.is_file() and path.parent.name != "private"]
    assert not [path for path in public if b"Jane" in path.read_bytes() or "Jane" in path.name]
    assert not [path for path in public if path.suffix == ".json" and str(rater_masks_root) in path.read_text()]
    id_map = (out / "private" / "id_map.csv").read_text()
    entry = load_datalist(out / "dataset.json").part("training")[0]
    assert f"patient,{entry.patient_id},Jane Doe " in id_map
    assert "rater,1,a" in id_map
    assert stat.S_IMODE((out / "private").stat().st_mode) == 0o700
    assert {stat.S_IMODE(path.stat().st_mode) for path in (out / "private").iterdir()} == {0o600}
    assert not any("private" in name for name in json.loads((out / "manifest.json").read_text())["sha256"])


def test_a_second_preparation_keeps_the_names_of_the_first(options: PrepareRaterMasksOptions, tmp_path: Path, caplog):
    first = replace(options, keep_ids=False)
    other = replace(first, output_dir=tmp_path / "other", split_salt="b")
    same = replace(other, output_dir=tmp_path / "same", case_key=options.output_dir / "private" / "case.key")
    data = [load_datalist(prepare_rater_masks(one).datalist) for one in (first, other, same)]
    named = [{entry.patient_id for part in one.parts.values() for entry in part} for one in data]
    assert named[0] == named[2]
    assert not named[0] & named[1]
    held_out = replace(data[0], parts={"training": (), "validation": (), "test": data[0].part("training")})
    with pytest.raises(ConfigError, match="keep every patient in one of them"):
        require_held_out(held_out, [data[2]])
    assert "different keys" not in caplog.text
    require_held_out(held_out, [data[1]])
    assert "were renamed with different keys, so that one who is in both is not seen: prepare one" in caplog.text
    with pytest.raises(ConfigError, match="--keep-ids keeps the ids, and --case-key renames them: leave one out"):
        replace(same, keep_ids=True)
    (tmp_path / "split.csv").write_text("no key")
    with pytest.raises(DataError, match=r"split.csv must hold a hexadecimal key"):
        prepare_rater_masks(replace(same, case_key=tmp_path / "split.csv", output_dir=tmp_path / "third"))
    assert prepare_rater_masks(same).datalist.parent == same.output_dir


def test_run_again_is_done_at_once(options: PrepareRaterMasksOptions, rater_masks_root: Path, caplog):
    first = prepare_rater_masks(options)
    with caplog.at_level("INFO"):
        assert prepare_rater_masks(options) == first
    assert "is already prepared" in caplog.text
    shutil.rmtree(rater_masks_root / "case-0")
    with pytest.raises(ConfigError, match=r"made from other files: case-0/image\.nii\.gz is gone and 3 more: name"):
        prepare_rater_masks(options)


def test_a_mask_that_was_corrected_in_place_is_seen(options: PrepareRaterMasksOptions, write_volume):
    mask = options.source / "case-1" / "rater-a.mhd"
    (options.source / "case-1" / "rater-a.nrrd").unlink()
    array = rated_arrays(1)[1][0]
    write_volume(mask, array)
    prepare_rater_masks(options)
    write_volume(mask, np.roll(array, 1, axis=0))
    with pytest.raises(
        ConfigError, match=r"was made from other files: case-1/rater-a\.raw has changed: name another or"
    ):
        prepare_rater_masks(options)
    assert prepare_rater_masks(replace(options, overwrite=True)).counts["cases"] == 6


def test_files_that_were_only_touched_are_the_same(options: PrepareRaterMasksOptions):
    first = prepare_rater_masks(options)
    for path in options.source.rglob("*.nrrd"):
        path.touch()
    assert prepare_rater_masks(options) == first


def test_what_the_first_version_prepared_is_done(options: PrepareRaterMasksOptions, monkeypatch, caplog):
    first = prepare_rater_masks(options)
    record = json.loads((options.output_dir / "options.json").read_text())
    earlier = {name: record[name] for name in record if name not in ("version", "content_sha256")}
    (options.output_dir / "options.json").write_text(json.dumps(earlier | {"sha256_of_source": "0"}))
    shutil.rmtree(options.output_dir / "private")
    monkeypatch.setattr("pipelines.common.runs.run_folder.__version__", "0.2.0")
    with caplog.at_level("INFO"):
        assert prepare_rater_masks(options) == first
    assert "is already prepared, by version 0.1.0" in caplog.text


def test_mask_on_another_grid_leaves_nothing(options: PrepareRaterMasksOptions, write_volume, tmp_path: Path):
    write_volume(options.source / "case-2" / "rater-a.nrrd", np.zeros((24, 20, 5), dtype=np.uint8))
    with pytest.raises(GeometryError, match=r"rater-a.nrrd must lie on the grid of image.nii.gz: its shape is"):
        prepare_rater_masks(options)
    assert [path.name for path in tmp_path.iterdir()] == ["cases"]


def test_keep_going_records_without_paths(rater_masks_root: Path, write_volume, tmp_path: Path):
    write_volume(rater_masks_root / "case-2" / "rater-a.nrrd", np.zeros((24, 20, 5), dtype=np.uint8))
    (rater_masks_root / "case-4" / "image.nii.gz").unlink()
    arguments = ["prepare", "rater-masks", str(rater_masks_root), "--output-dir", str(tmp_path / "out"), "--crop", "16"]
    for _ in range(2):
        assert invoke([*arguments, "--keep-going", "--quiet"]) == ExitCode.SOME_CASES_FAILED
    text = (tmp_path / "out" / "failed.csv").read_text()
    assert "mask of rater 1 must lie on the grid of image: its shape is (24, 20, 5)" in text
    assert "must have one image, got 0" in text
    assert str(tmp_path) not in text
    assert len(load_datalist(tmp_path / "out" / "dataset.json").parts["training"]) > 0
    counts = json.loads((tmp_path / "out" / "manifest.json").read_text())["counts"]
    assert (counts["cases"], counts["left_out"]["cases_failed"]) == (4, 2)


def test_failures_name_neither_raters_nor_files_and_keep_their_numbers(rater_masks_root: Path, write_volume, tmp_path):
    (rater_masks_root / "case-2").rename(rater_masks_root / "1")
    write_volume(rater_masks_root / "1" / "rater-a.nrrd", np.full((24, 20, 6), 11, dtype=np.uint8))
    shutil.copy(rater_masks_root / "case-3" / "rater-a.nrrd", rater_masks_root / "case-3" / "rater-a.mha")
    next((rater_masks_root / "case-4").glob("image*")).unlink()
    (rater_masks_root / "case-4" / "image").mkdir()
    (rater_masks_root / "case-4" / "image" / "Mueller_Hans.dcm").write_bytes(bytes(128) + b"DICM" + bytes(9))
    arguments = ["prepare", "rater-masks", str(rater_masks_root), "--output-dir", str(tmp_path / "out"), "--crop", "16"]
    assert invoke([*arguments, "--keep-going", "--quiet"]) == ExitCode.SOME_CASES_FAILED
    text = (tmp_path / "out" / "failed.csv").read_text()
    assert "mask of rater 1 must hold classes 0 to 1, got 11" in text
    assert "both belong to rater 1" in text
    assert not re.findall(r"Mueller|rater[ -]a|\bcase-[34]\b", text)  # an id may begin with "case-4"


def test_several_classes_and_a_silent_rater(rater_masks_root: Path, write_volume, tmp_path: Path):
    mask = np.zeros((24, 20, 6), dtype=np.uint8)
    write_volume(rater_masks_root / "case-1" / "rater-b.nrrd", mask)
    mask[5:9, 5:9, 1], mask[9:12, 5:9, 1] = 1, 2
    write_volume(rater_masks_root / "case-1" / "rater-a.nrrd", mask)
    options = PrepareRaterMasksOptions(
        rater_masks_root,
        tmp_path / "out",
        classes=("background", "core", "rim"),
        roi_size=(16, 16),
        keep_ids=True,
        fractions=(0.5, 0.5, 0),
    )
    datalist = load_datalist(prepare_rater_masks(options).datalist)
    (entry,) = [e for part in datalist.parts.values() for e in part if e.patient_id == "case-1"]
    assert datalist.classes == ("background", "core", "rim")
    assert (entry.rater_weights, entry.raters_present) == ((0.5, 0.5), 1)
    assert np.unique(nib.load(entry.label).dataobj).tolist() == [0, 1, 2]


def test_values_without_a_class_are_refused(rater_masks_root: Path, write_volume, tmp_path: Path, capsys):
    write_volume(rater_masks_root / "case-1" / "rater-a.nrrd", np.full((24, 20, 6), 2, dtype=np.uint8))
    arguments = ["prepare", "rater-masks", str(rater_masks_root), "--output-dir", str(tmp_path / "out"), "--quiet"]
    assert invoke(arguments) == ExitCode.BAD_INPUT
    assert "rater-a.nrrd must hold classes 0 to 1, got 2: name more with --classes" in capsys.readouterr().err


@pytest.mark.parametrize("classes", [("background",), ("a", "a"), ("background", "lesion", "")])
def test_classes_are_checked(classes: tuple[str, ...], options: PrepareRaterMasksOptions):
    with pytest.raises(ConfigError, match="classes must be at least two different names"):
        replace(options, classes=classes)


def test_dicom_image_is_read(rater_masks_root: Path, write_ct_slice, write_volume, tmp_path: Path):
    folder = rater_masks_root / "case-0"
    for path in folder.iterdir():
        path.unlink()
    stored = [write_ct_slice(folder / "image" / f"{n}.dcm", z_mm=2.0 * n, number=n) for n in range(1, 4)]
    mask = np.zeros((5, 6, 3), dtype=np.uint8)
    mask[1:3, 1:4, 1] = 1
    write_volume(folder / "rater-a.mha", mask, spacing=(0.6, 0.7, 2.0), origin=(-10.0, -20.0, 2.0))
    options = PrepareRaterMasksOptions(
        rater_masks_root, tmp_path / "out", roi_size=(4, 4), keep_ids=True, fractions=(0.5, 0.5, 0)
    )
    datalist = load_datalist(prepare_rater_masks(options).datalist)
    (entry,) = [e for part in datalist.parts.values() for e in part if e.patient_id == "case-0"]
    np.testing.assert_array_equal(nib.load(entry.image).dataobj[:, :, 0], stored[1].T[0:4, 0:4].astype(int) - 1024)


def test_one_rater_is_enough(options: PrepareRaterMasksOptions):
    for path in options.source.rglob("rater-b.nrrd"):
        path.unlink()
    result = prepare_rater_masks(options)
    assert load_datalist(result.datalist).num_raters == 1
    assert result.counts["fleiss_kappa"] is None
    card = json.loads((options.output_dir / "card.json").read_text())
    assert card["agreement"] == {}


def test_wanted_spacing_is_told_and_checked(options: PrepareRaterMasksOptions):
    datalist = load_datalist(prepare_rater_masks(replace(options, spacing_mm=0.5)).datalist)
    assert datalist.spacing_mm == 0.5
    zooms = nib.load(datalist.part("training")[0].image).header.get_zooms()
    assert zooms == pytest.approx((0.5, 0.5, 2.0))
    with pytest.raises(ConfigError, match=r"spacing_mm must be > 0, got 0\.0"):
        replace(options, spacing_mm=0.0)


def test_a_table_that_gives_a_case_to_another_patient_is_seen(options: PrepareRaterMasksOptions, tmp_path: Path):
    table = tmp_path / "cases.csv"
    rows = [f"{n},cases/case-{n}/image.nii.gz,a,cases/case-{n}/rater-a.nrrd,p{n}" for n in range(6)]
    table.write_text("\n".join(["case,image,rater,mask,patient_id", *rows]) + "\n")
    options = replace(options, source=table, split_salt="1")
    prepare_rater_masks(options)
    table.write_text(table.read_text().replace(",p5", ",p4"))
    with pytest.raises(ConfigError, match="was made from other files: the list of cases has changed: name another"):
        prepare_rater_masks(options)


@pytest.mark.parametrize("name", ["training/best.pt", "nodules/notes.txt"])
def test_overwriting_refuses_a_file_that_it_did_not_write(options: PrepareRaterMasksOptions, name: str):
    prepare_rater_masks(options)
    (options.output_dir / name).parent.mkdir(exist_ok=True)
    (options.output_dir / name).touch()
    with pytest.raises(ConfigError, match=f"out holds {name}, which this command did not put there: move it"):
        prepare_rater_masks(replace(options, overwrite=True))
    assert (options.output_dir / name).exists()


def test_a_folder_of_another_command_is_not_replaced(options: PrepareRaterMasksOptions):
    options.output_dir.mkdir()
    (options.output_dir / "options.json").write_text('{"bundle": "lidc"}')
    with pytest.raises(ConfigError, match="was made by mose-med train, not by mose-med prepare rater-masks: name"):
        prepare_rater_masks(replace(options, overwrite=True))
    assert (options.output_dir / "options.json").read_text() == '{"bundle": "lidc"}'
