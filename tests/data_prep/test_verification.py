from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from data_prep.verification import verify
from pipelines.cli import invoke


@pytest.fixture
def folder(prepared_datalist: Path, tmp_path: Path) -> Path:
    """A copy of the prepared phantoms that may be damaged."""
    return Path(shutil.copytree(prepared_datalist.parent, tmp_path / "data"))


def wrong(folder: Path) -> list[str]:
    """All that is wrong but for changed files."""
    found = [f"{f.place} {f.what}" for f in verify(folder) if f.is_wrong]
    return [line for line in found if "SHA-256" not in line]


def change_volume(path: Path, change: Callable[[np.ndarray, np.ndarray], tuple[np.ndarray, np.ndarray]]) -> None:
    image = nib.load(path)
    array, affine = change(np.asarray(image.dataobj).copy(), image.affine.copy())
    nib.save(nib.Nifti1Image(array, affine), path)


def change_entry(folder: Path, part: str, **values: object) -> None:
    content = json.loads((folder / "dataset.json").read_text())
    content[part][0] |= values
    (folder / "dataset.json").write_text(json.dumps(content))


def first_label(folder: Path) -> Path:
    content = json.loads((folder / "dataset.json").read_text())
    return Path(folder / content["training"][0]["label"])


def test_what_prepare_wrote_is_sound(folder: Path, capsys):
    assert list(verify(folder)) == []
    assert invoke(["doctor", "--data", str(folder)]) == 0
    assert "nothing wrong" in capsys.readouterr().out


def test_changed_missing_and_strange_files_are_named(folder: Path, capsys):
    (folder / "nodules.csv").write_text("changed")
    (folder / "montage.png").unlink()
    (folder / "mine.txt").write_text("mine")
    assert invoke(["doctor", "--data", str(folder)]) == 2
    lines = capsys.readouterr().out.splitlines()
    assert "WRONG montage.png is missing" in lines
    assert "WRONG nodules.csv has changed since it was written (SHA-256 differs from the manifest)" in lines
    assert "note  mine.txt is not in the manifest" in lines
    assert lines[-1].endswith("2 wrong, 1 to know of")


@pytest.mark.parametrize("text", ['{"sha256": [1, 2]}', "[]", '{"sha256": "a"}', "{}", "null", "no JSON"])
def test_a_manifest_of_another_form_is_damaged(folder: Path, text: str):
    (folder / "manifest.json").write_text(text)
    (found,) = verify(folder)
    assert found.place == "manifest.json"
    assert found.what.startswith("is missing or damaged (")


def test_masks_elsewhere_than_their_image(folder: Path):
    def shift(array: np.ndarray, affine: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        affine[0, 3] += 1
        return array, affine

    change_volume(first_label(folder), shift)
    (line,) = wrong(folder)
    assert line.endswith("_raters.nii does not lie where its image does: it lies 1 mm away")


def test_missing_rater(folder: Path):
    change_volume(first_label(folder), lambda array, affine: (array[..., :3], affine))
    (line,) = wrong(folder)
    assert "must be that of its image and raters (128, 128, 5, 4)" in line


@pytest.mark.parametrize(("value", "shown"), [(0.5, "0.5"), (-1.0, "-1"), (float("nan"), "nan")])
def test_masks_of_other_values_than_classes(folder: Path, value: float, shown: str):
    change_volume(first_label(folder), lambda array, affine: (np.where(array > 0, np.float32(value), 0), affine))
    assert any(f"has class {shown} in its masks: there are 2 classes" in line for line in wrong(folder))


def test_unknown_class(folder: Path):
    change_volume(first_label(folder), lambda array, affine: (array * np.uint8(3), affine))
    assert any("has class 3 in its masks: there are 2 classes" in line for line in wrong(folder))


def test_nodule_without_any_mask(folder: Path):
    change_volume(first_label(folder), lambda array, affine: (array * np.uint8(0), affine))
    (line,) = wrong(folder)
    assert line.endswith("is outlined by raters, but every mask on every slice is empty")
    notes = [finding for finding in verify(folder) if not finding.is_wrong]
    assert len(notes) == 5
    assert "every mask is empty" in notes[0].what


def test_slice_at_another_place_or_not_there(folder: Path):
    change_entry(folder, "training", z_mm=1234.0)
    change_entry(folder, "test", slice=77)
    lines = wrong(folder)
    assert any("has z_mm 1234, its image is at" in line for line in lines)
    assert any("names a slice that its image of" in line for line in lines)


def test_patient_in_two_parts_and_the_same_image(folder: Path):
    content = json.loads((folder / "dataset.json").read_text())
    content["test"].append(content["training"][0])
    (folder / "dataset.json").write_text(json.dumps(content))
    lines = wrong(folder)
    assert "patient LIDC-IDRI-0250 is in more than one part: test, training" in lines
    assert any("has the same image as training[0]" in line for line in lines)


def test_copy_of_an_image_under_another_name(folder: Path):
    content = json.loads((folder / "dataset.json").read_text())
    copied = dict(content["training"][0], nodule_id="another", patient_id="another", image="nodules/copy.nii")
    shutil.copy(folder / content["training"][0]["image"], folder / "nodules" / "copy.nii")
    content["validation"].append(copied)
    (folder / "dataset.json").write_text(json.dumps(content))
    (line,) = wrong(folder)
    assert line.startswith("validation[9] (another, slice 0) has the same image as training[0]")


def test_volume_upside_down(folder: Path):
    def turn(array: np.ndarray, affine: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        affine[2, 2] *= -1
        return array, affine

    change_volume(first_label(folder), turn)
    change_volume(Path(str(first_label(folder)).replace("_raters", "")), turn)
    assert any(line.endswith("_raters.nii has k pointing to I: must be S (superior)") for line in wrong(folder))


@pytest.mark.parametrize(
    ("value", "what"), [(7, "has an image of one value, 7.0"), (np.nan, "values in its image that are not finite")]
)
def test_images_that_show_nothing(folder: Path, value: float, what: str):
    image = Path(str(first_label(folder)).replace("_raters", ""))
    change_volume(image, lambda array, affine: (np.full(array.shape, value, dtype=np.float32), affine))
    lines = wrong(folder)
    assert len(lines) == 5
    assert all(what in line for line in lines)


def test_spacing_that_the_datalist_does_not_say(folder: Path):
    content = json.loads((folder / "dataset.json").read_text())
    (folder / "dataset.json").write_text(json.dumps(content | {"spacing_mm": 0.5}))
    assert all(" mm: dataset.json says 0.5" in line for line in wrong(folder))
    assert len(wrong(folder)) == len(list((folder / "nodules").glob("*_raters.nii")))


def test_more_masks_than_raters(folder: Path):
    change_entry(folder, "training", raters_present=0)
    assert any("masks that are not empty, but raters_present is 0" in line for line in wrong(folder))


@pytest.mark.parametrize("content", [b"", b"not a volume"])
def test_damaged_volume_and_manifest(folder: Path, content: bytes):
    first_label(folder).write_bytes(content)
    (folder / "manifest.json").write_bytes(content)
    lines = wrong(folder)
    assert any(line.startswith("manifest.json is missing or damaged") for line in lines)
    assert any("or its masks cannot be read" in line for line in lines)


def test_datalist_that_cannot_be_read(folder: Path):
    (folder / "dataset.json").write_text("{}")
    assert any("dataset.json" in line and "does not fit" in line for line in wrong(folder))


def test_no_folder_is_bad_usage(tmp_path: Path, capsys):
    assert invoke(["doctor", "--data", str(tmp_path / "nowhere")]) == 2
    assert "is not a folder: name the one that `mose-med prepare` wrote" in capsys.readouterr().err.replace("\n", " ")
