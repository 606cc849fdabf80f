from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from data_prep.rater_masks.cases import find_cases, rater_names
from mose_med.errors import ConfigError


def test_folders_are_cases(rater_masks_root: Path):
    (rater_masks_root / "case-0" / "notes.txt").write_text("")
    (rater_masks_root / ".hidden").mkdir()
    cases = find_cases(rater_masks_root)
    assert [case.case for case in cases] == [f"case-{n}" for n in range(6)]
    assert [sorted(case.masks) for case in cases] == [["a", "b"]] * 3 + [["a"]] + [["a", "b"]] * 2
    assert cases[0].images == (rater_masks_root / "case-0" / "image.nii.gz",)
    assert rater_names(cases) == ("a", "b")


def test_a_volume_with_another_name_is_not_passed_over_without_a_word(rater_masks_root: Path, caplog):
    case = rater_masks_root / "case-0"
    next(case.glob("rater-b.*")).rename(case / "Rater-b.NII.GZ")
    (case / "lungs.nii.gz").touch()
    (case / "._rater-b.nii.gz").touch()
    assert sorted(find_cases(rater_masks_root)[0].masks) == ["a", "b"]
    assert "not read, being neither image nor rater-<name> in a format that is read: case-0/lungs.nii.gz" in caplog.text
    (case / "Rater-b.NII.GZ").rename(case / "rater_b.nii.gz")
    with pytest.raises(ConfigError, match=r"rater_b.nii.gz must be named rater-<name> to be the mask of a rater"):
        find_cases(rater_masks_root)


@pytest.mark.parametrize(
    "name",
    [
        *("rater-carl/mask.nii.gz", "rater-emil.hdr", "rater-fritz.tif", "rater-gina.mgz", "rater-dora.nii.gz.bak"),
        *("image.hdr", "lungs.nii.gz", "rater-hans.raw"),
    ],
)
def test_what_looks_like_a_mask_or_volume_and_is_not_read_is_named(name: str, rater_masks_root: Path, caplog):
    path = rater_masks_root / "case-0" / name
    path.parent.mkdir(exist_ok=True)
    path.touch()
    assert sorted(find_cases(rater_masks_root)[0].masks) == ["a", "b"]
    (line,) = caplog.messages
    assert line.endswith(f"in a format that is read: case-0/{name.split('/')[0]}")


def test_volumes_beside_the_folders_of_cases_are_named(rater_masks_root: Path, caplog):
    for name in ("ct.nii.gz", "image.zip", "rater-a.nrrd", "notes.txt", ".hidden.nii"):
        (rater_masks_root / name).touch()
    find_cases(rater_masks_root)
    (line,) = caplog.messages
    assert line.endswith("in a format that is read: ct.nii.gz, image.zip, rater-a.nrrd")


def test_files_of_values_belong_to_their_header(rater_masks_root: Path, write_volume, caplog):
    write_volume(rater_masks_root / "case-0" / "rater-c.mhd", np.zeros((2, 2, 2), np.uint8))
    assert sorted(find_cases(rater_masks_root)[0].masks) == ["a", "b", "c"]
    assert (rater_masks_root / "case-0" / "rater-c.raw").is_file()
    assert not caplog.messages


def test_of_many_files_that_are_not_read_ten_are_named(rater_masks_root: Path, caplog):
    for number in range(12):
        (rater_masks_root / "case-0" / f"rater-{number:02}.tif").touch()
    find_cases(rater_masks_root)
    (line,) = caplog.messages
    assert line.endswith("case-0/rater-08.tif, case-0/rater-09.tif and 2 more")


@pytest.mark.parametrize("name", ["rater-a.seg.nrrd", "rater-a.seg.nhdr", "rater-a.SEG.NRRD", "rater-a.nrrd"])
def test_a_rater_is_one_whether_slicer_wrote_the_mask_or_not(tmp_path: Path, name: str):
    for case, mask in (("x", name), ("y", "rater-a.nii.gz")):
        (tmp_path / case).mkdir()
        (tmp_path / case / mask).touch()
    assert rater_names(find_cases(tmp_path)) == ("a",)


def test_a_rater_is_one_however_the_name_is_spelt(tmp_path: Path):
    names = {"w": "rater-anna.nii", "x": "rater-Anna.nii", "y": "rater-J\u00fcrgen.nii", "z": "rater-Ju\u0308rgen.nii"}
    for case, mask in names.items():
        (tmp_path / case).mkdir()
        (tmp_path / case / mask).touch()
    cases = find_cases(tmp_path)
    assert rater_names(cases) == ("Anna", "Ju\u0308rgen")
    assert [path.name for case in cases for (path,) in case.masks.values()] == list(names.values())


def test_two_spellings_of_a_rater_in_a_case_are_two_masks_of_one(tmp_path: Path):
    rows = ["case,image,rater,mask", "x,i.nii,anna,m.nii", "x,i.nii,Anna,n.nii"]
    (tmp_path / "s.csv").write_text("\n".join(rows))
    (case,) = find_cases(tmp_path / "s.csv")
    assert case.masks == {"Anna": (tmp_path / "m.nii", tmp_path / "n.nii")}


def test_a_case_and_links_to_it_are_one_case(rater_masks_root: Path):
    (rater_masks_root / "alias").symlink_to(rater_masks_root / "case-0")
    assert [case.case for case in find_cases(rater_masks_root)] == [f"case-{n}" for n in range(6)]
    (rater_masks_root / "gone").symlink_to(rater_masks_root / "nowhere")
    with pytest.raises(ConfigError, match="gone is a broken link: restore its target, or remove it"):
        find_cases(rater_masks_root)


def test_csv_may_give_a_patient_several_cases(tmp_path: Path):
    rows = ["case,patient_id,image,rater,mask", "x,p,i.nii,b,m1.nii", "x,p,i.nii,a,m2.nii", "w,p,j.nii,a,m3.nii"]
    (tmp_path / "s.csv").write_text("\n".join(rows))
    cases = find_cases(tmp_path / "s.csv")
    assert [(case.case, case.patient, case.images) for case in cases] == [
        ("w", "p", (tmp_path / "j.nii",)),
        ("x", "p", (tmp_path / "i.nii",)),
    ]
    assert cases[1].masks == {"b": (tmp_path / "m1.nii",), "a": (tmp_path / "m2.nii",)}


@pytest.mark.parametrize("column", ["patient_id", "Patient ID", "PatientID", "patient", "PATIENT-ID"])
def test_the_column_of_patients_may_be_spelt_in_any_way(column: str, tmp_path: Path, caplog):
    rows = [f"Case,{column},image,rater_,mask", "x,p,i.nii,a,m.nii", "w,p,j.nii,a,n.nii"]
    (tmp_path / "s.csv").write_text("\n".join(rows))
    assert [case.patient for case in find_cases(tmp_path / "s.csv")] == ["p", "p"]
    assert not caplog.messages


def test_columns_that_are_not_read_and_cases_without_a_patient_are_told(tmp_path: Path, caplog):
    rows = ["case,image,rater,mask,subject,site", "x,i.nii,a,m.nii,p,s", "w,j.nii,a,n.nii,p,s"]
    (tmp_path / "s.csv").write_text("\n".join(rows))
    with caplog.at_level("INFO"):
        find_cases(tmp_path / "s.csv")
    assert "columns of the source that are not read: subject, site" in caplog.text
    assert "cases without a patient_id, each taken as a patient: 2" in caplog.text


def test_a_column_of_exactly_our_name_is_the_one_that_is_read(tmp_path: Path, caplog):
    rows = ["case,patient,patient_id,image,rater,mask", "x,Jane,p,i.nii,a,m.nii", "w,Jane,,j.nii,a,n.nii"]
    (tmp_path / "s.csv").write_text("\n".join(rows))
    with caplog.at_level("INFO"):
        assert [case.patient for case in find_cases(tmp_path / "s.csv")] == ["w", "p"]
    assert "columns of the source that are not read: patient" in caplog.text
    assert "cases without a patient_id, each taken as a patient: 1" in caplog.text


@pytest.mark.parametrize(
    "text",
    [
        "\ufeffcase, image, rater, mask\r\nx, i.nii, a, m.nii\r\n",
        "case;image;rater;mask;\nx;i.nii;a;m.nii;\n;;;;\n",
        "Case\tImage\tRater\tMask\nx\ti.nii\ta\tm.nii\n",
    ],
)
def test_csv_of_any_program_is_read(text: str, tmp_path: Path):
    (tmp_path / "s.csv").write_text(text, encoding="utf-8")
    (case,) = find_cases(tmp_path / "s.csv")
    assert (case.case, case.images, case.masks) == ("x", (tmp_path / "i.nii",), {"a": (tmp_path / "m.nii",)})


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("case,image,rater\n", "must have the columns case,image,rater,mask, lacks mask"),
        ("case,image,rater,mask\nx,i.nii,,m.nii\n", "line 2: needs a value in the column rater"),
        ("case,image,rater,mask\n", "has no case"),
        ("case,patient_id,image,rater,mask\nx,p,i,a,m\nx,q,i,b,n\n", "line 3: case x has a different patient_id"),
    ],
)
def test_wrong_csv_is_named(text: str, reason: str, tmp_path: Path):
    (tmp_path / "s.csv").write_text(text)
    with pytest.raises(ConfigError, match=f"s.csv.* {reason}"):
        find_cases(tmp_path / "s.csv")


@pytest.mark.parametrize("mask", ["m.nii", "./A/../m.nii", "link.nii"])
def test_one_mask_of_two_raters_is_refused(mask: str, tmp_path: Path):
    (tmp_path / "link.nii").symlink_to(tmp_path / "m.nii")
    (tmp_path / "s.csv").write_text(f"case,image,rater,mask\nx,i.nii,a,m.nii\nx,i.nii,b,{mask}\n")
    with pytest.raises(ConfigError, match=r"case x has one mask for two raters, a and b: .*nii: name the file of each"):
        find_cases(tmp_path / "s.csv")


def test_an_image_spelt_in_two_ways_is_one(tmp_path: Path):
    (tmp_path / "s.csv").write_text("case,image,rater,mask\nx,A/i.nii,a,m.nii\nx,./A/../A/i.nii,b,n.nii\n")
    (case,) = find_cases(tmp_path / "s.csv")
    assert case.images == (tmp_path / "A" / "i.nii",)


def test_missing_source_is_named(tmp_path: Path):
    with pytest.raises(ConfigError, match="no does not exist: name a folder of cases or a CSV file"):
        find_cases(tmp_path / "no")


def test_source_without_masks_is_named(tmp_path: Path):
    (tmp_path / "case").mkdir()
    with pytest.raises(ConfigError, match="no case has a mask"):
        rater_names(find_cases(tmp_path))
