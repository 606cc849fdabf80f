from __future__ import annotations

import csv
import json
import math
import struct
import unicodedata
from dataclasses import replace
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import torch

from mose_med.errors import ConfigError, DataError
from mose_med.metrics import CalibrationError, generalized_energy_distance, matched_iou
from pipelines.cli import invoke
from pipelines.evaluate.masks.files import MaskSet, read_mask_set, read_weights
from pipelines.evaluate.masks.run import EvaluateMasksOptions, evaluate_masks

AFFINE = np.diag([0.7, 0.7, 2.0, 1.0])


def write_masks(path: Path, masks: np.ndarray, affine: np.ndarray = AFFINE) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    nib.save(nib.Nifti1Image(masks, affine), path)


def random_masks(seed: int, members: int) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 2, (5, 4, 3, members)).astype(np.uint8)


@pytest.fixture
def options(tmp_path: Path) -> EvaluateMasksOptions:
    """Two cases: 4D files and folders of 3D files, with three and two raters."""
    predictions, references = tmp_path / "predictions", tmp_path / "references"
    write_masks(predictions / "a.nii.gz", random_masks(0, 4))
    write_masks(references / "a.nii", random_masks(1, 3))
    for sample in range(4):
        write_masks(predictions / "b" / f"sample-{sample}.nii.gz", random_masks(2, 4)[..., sample])
    for rater in range(2):
        write_masks(references / "b" / f"rater-{rater}.nii.gz", random_masks(3, 2)[..., rater])
    return EvaluateMasksOptions(predictions, references, tmp_path / "out", quiet=True)


def as_set(masks: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(np.moveaxis(masks, -1, 0)[None])


def test_files_of_both_kinds_give_the_functions_scores(options: EvaluateMasksOptions):
    found = evaluate_masks(options).cases
    for case, seed, raters in (("a", 0, 3), ("b", 2, 2)):
        pair = as_set(random_masks(seed, 4)), as_set(random_masks(seed + 1, raters))
        assert found[case]["ged"] == pytest.approx(generalized_energy_distance(*pair).item())
        assert found[case]["matched_iou"] == pytest.approx(matched_iou(*pair).item())


def test_hidden_files_are_no_masks(options: EvaluateMasksOptions):
    expected = evaluate_masks(options).cases
    for root in (options.predictions, options.references):
        for hidden in (
            root / "._a.nii.gz",
            root / "b" / "._sample-0.nii.gz",
            root / ".cache" / "c.nii.gz",
            root / "__MACOSX" / "d.nii.gz",
        ):
            hidden.parent.mkdir(exist_ok=True)
            hidden.write_bytes(b"as macOS leaves it")
    assert evaluate_masks(replace(options, output_dir=options.output_dir.with_name("again"))).cases == expected


def test_endings_are_read_in_any_case(options: EvaluateMasksOptions):
    expected = evaluate_masks(options).cases
    for root in (options.predictions, options.references):
        for path in [path for path in root.rglob("*") if path.is_file()]:
            path.rename(path.with_name(path.name.replace(".nii", ".NII").replace(".gz", ".GZ")))
    assert evaluate_masks(replace(options, output_dir=options.output_dir.with_name("again"))).cases == expected


def test_volumes_that_are_not_read_are_named(options: EvaluateMasksOptions, caplog):
    for name in ("d.nrrd", "b/e.mha", "b/more/b.nii.gz"):
        (options.predictions / name).parent.mkdir(exist_ok=True)
        (options.predictions / name).touch()
    evaluate_masks(options)
    assert caplog.messages[:2] == [
        "predictions: d.nrrd is not read: masks are .nii or .nii.gz files, not in further folders",
        "predictions of case b: e.mha and 1 more are not read: masks are .nii or .nii.gz files, not in further folders",
    ]


def test_names_are_compared_as_they_look(tmp_path: Path):
    composed, apart = (unicodedata.normalize(form, "Müller 1") for form in ("NFC", "NFD"))
    write_masks(tmp_path / "p" / f"{apart}.nii.gz", random_masks(0, 2))
    write_masks(tmp_path / "r" / composed / "a.nii.gz", random_masks(1, 2)[..., 0])
    (tmp_path / "w.csv").write_text(f"{apart},1,0\n", encoding="utf-8")
    options = EvaluateMasksOptions(tmp_path / "p", tmp_path / "r", tmp_path / "out", quiet=True)
    assert list(evaluate_masks(replace(options, prediction_weights=tmp_path / "w.csv")).cases) == [composed]


def test_files_hold_cases_means_and_intervals(options: EvaluateMasksOptions):
    evaluation = evaluate_masks(options)
    content = json.loads((options.output_dir / "metrics.json").read_text())
    assert content["ged"]["mean"] == pytest.approx(evaluation.mean("ged"))
    assert content["ged"]["low"] <= content["ged"]["mean"] <= content["ged"]["high"]
    assert (options.output_dir / "reliability.png").stat().st_size > 0
    with (options.output_dir / "per_case.csv").open() as stream:
        assert [line["case"] for line in csv.DictReader(stream)] == ["a", "b"]


def test_calibration_is_of_the_mean_against_the_raters_mean_over_all_cases(options: EvaluateMasksOptions):
    error = CalibrationError()
    for seed, raters in ((0, 3), (2, 2)):
        sets = as_set(random_masks(seed, 4)), as_set(random_masks(seed + 1, raters))
        means = (masks.float().mean(dim=1) for masks in sets)
        error.update(*(torch.stack([1 - mean, mean], dim=1) for mean in means))
    assert evaluate_masks(options).calibration.compute() == pytest.approx(error.compute())
    content = json.loads((options.output_dir / "metrics.json").read_text())
    assert content["pooled_calibration"]["expected_percent"] == pytest.approx(error.compute())


def test_several_classes_are_calibrated_by_confidence(options: EvaluateMasksOptions):
    found = evaluate_masks(replace(options, classes=(0, 1)))
    assert found.calibration.mode == "confidence"
    assert found.calibration.compute() > 0.0


def test_predictions_without_a_voxel_are_scored(options: EvaluateMasksOptions):
    for path in options.predictions.rglob("*.nii.gz"):
        nib.save(nib.Nifti1Image(np.zeros(nib.load(path).shape, np.uint8), AFFINE), path)
    evaluation = evaluate_masks(options)
    content = json.loads((options.output_dir / "metrics.json").read_text())
    assert evaluation.cases["a"]["matched_iou"] == 0
    assert content["ged"]["mean"] > 0
    assert content["pooled_calibration"]["expected_percent"] == 0


@pytest.mark.parametrize(("value", "name"), [(255, "c.nii.gz"), (np.float32(1.00000006), "c.nii.gz"), (255, "c.nii")])
def test_foreground_of_any_program_is_class_1(tmp_path: Path, value: float, name: str, caplog):
    masks = random_masks(0, 2)
    write_masks(tmp_path / "p" / name, masks * (np.uint8(255) if value == 255 else value))
    write_masks(tmp_path / "r" / "c.nii.gz", masks)
    found = evaluate_masks(EvaluateMasksOptions(tmp_path / "p", tmp_path / "r", tmp_path / "out", quiet=True))
    assert found.cases["c"]["matched_iou"] == 1
    assert ("p of case c hold 255 and no other class: read as class 1" in caplog.text) == (value == 255)


def test_255_is_class_1_in_each_file_of_a_case(tmp_path: Path, caplog):
    masks = random_masks(0, 2)
    write_masks(tmp_path / "p" / "c.nii.gz", masks)
    for rater, value in enumerate((1, 255)):
        write_masks(tmp_path / "r" / "c" / f"{rater}.nii.gz", masks[..., rater] * np.uint8(value))
    found = evaluate_masks(EvaluateMasksOptions(tmp_path / "p", tmp_path / "r", tmp_path / "out", quiet=True))
    assert found.cases["c"]["matched_iou"] == 1
    assert "r of case c hold 255 and no other class in 1 of 2 files: read as class 1" in caplog.text


def test_values_that_do_not_count_are_named(tmp_path: Path, caplog):
    masks = random_masks(0, 2)
    write_masks(tmp_path / "p" / "c.nii.gz", masks)
    write_masks(tmp_path / "r" / "c.nii.gz", masks * np.array([1, 2], np.uint8))
    options = EvaluateMasksOptions(tmp_path / "p", tmp_path / "r", tmp_path / "out", quiet=True)
    for _ in ("first", "again"):
        evaluate_masks(options)
        assert "masks hold 2, which --class-values 1 does not count: name them there" in caplog.text
        caplog.clear()


@pytest.mark.parametrize("kind", ["json", "csv"])
def test_weights_by_case_are_used(options: EvaluateMasksOptions, tmp_path: Path, kind: str):
    weights = {"a": [0.7, 0.1, 0.1, 0.1], "b": [0.25, 0.25, 0.25, 0.25]}
    path = tmp_path / f"weights.{kind}"
    lines = "\n".join(",".join([case, *map(str, values)]) for case, values in weights.items())
    path.write_text(json.dumps(weights) if kind == "json" else lines)
    found = evaluate_masks(replace(options, prediction_weights=path)).cases["a"]["ged"]
    pair = as_set(random_masks(0, 4)), as_set(random_masks(1, 3))
    assert found == pytest.approx(generalized_energy_distance(*pair, torch.tensor([weights["a"]])).item())


@pytest.mark.parametrize("text", ["\ufeffa,0.7,0.3\r\nb,1,0\r\n", "a; 0,7; 0,3;\nb; 1; 0;\n;;;\n"])
def test_weights_of_any_program_are_read(tmp_path: Path, text: str):
    (tmp_path / "w.csv").write_text(text, encoding="utf-8")
    assert read_weights(tmp_path / "w.csv") == {"a": [0.7, 0.3], "b": [1.0, 0.0]}


def test_a_weight_that_is_no_number_is_named_with_its_line(tmp_path: Path):
    (tmp_path / "w.csv").write_text("a,0.5,0.5\nb,0.5,x\n")
    with pytest.raises(ConfigError, match=r"must hold a list of numbers for each case, got 'x' in line 2"):
        read_weights(tmp_path / "w.csv")


@pytest.mark.parametrize(
    ("name", "text"),
    [("w.csv", "a,0.9,0.1\nb,1,0\na,0.1,0.9\n"), ("w.json", '{"a": [0.9, 0.1], "b": [1, 0], "a": [0.1, 0.9]}')],
)
def test_weights_that_name_a_case_twice_are_refused(tmp_path: Path, name: str, text: str):
    (tmp_path / name).write_text(text)
    with pytest.raises(ConfigError, match=rf"{name}.* must name 'a' once, got it twice: leave one"):
        read_weights(tmp_path / name)


def test_a_case_without_a_partner_is_named(options: EvaluateMasksOptions):
    write_masks(options.predictions / "c.nii.gz", random_masks(4, 2))
    with pytest.raises(ConfigError, match="case c is not among the references"):
        evaluate_masks(options)
    assert not options.output_dir.exists()


@pytest.mark.parametrize(
    ("masks", "affine", "message"),
    [
        (random_masks(5, 3)[:4], AFFINE, r"case a: .*: its shape is \(5, 4, 3\), the references' \(4, 4, 3\)"),
        (random_masks(5, 3), np.eye(4), "references: its spacing is 0.7 x 0.7 x 2 mm, the references' 1 x 1 x 1 mm"),
        (random_masks(5, 3), AFFINE + 30 * np.eye(4, k=3), "the grid of the references: it lies 30 mm away"),
        (random_masks(5, 3), AFFINE @ np.diag([-1, 1, 1, 1]), "its axes are rotated by 180.0 degrees"),
        (random_masks(5, 3) * 0.5, AFFINE, r"a\.nii must hold integer classes, got 0\.5: take the argmax first"),
        (
            random_masks(5, 3) * np.int32(70000),
            AFFINE,
            r"a\.nii must hold classes -32768 to 32767, got 70000: number them anew",
        ),
        (random_masks(5, 3)[..., 0, 0], AFFINE, r"a\.nii must be 3D or 4D, got shape \(5, 4\)"),
    ],
)
def test_masks_that_cannot_be_compared_are_named(
    options: EvaluateMasksOptions, masks: np.ndarray, affine: np.ndarray, message: str
):
    write_masks(options.references / "a.nii", masks, affine)
    with pytest.raises(DataError, match=message):
        evaluate_masks(options)


def test_files_of_one_case_on_other_grids_are_named(options: EvaluateMasksOptions):
    write_masks(options.predictions / "b" / "sample-2.nii.gz", random_masks(2, 1)[..., 0], np.diag([0.7, 0.7, 3, 1]))
    message = r"case b: sample-2\.nii\.gz must lie on the grid of sample-0\.nii\.gz: its spacing is 0.7 x 0.7 x 3 mm, "
    with pytest.raises(DataError, match=message):
        evaluate_masks(options)


# Offset, form and value of a field of the header, and what the line must say of it.
HEADERS = {
    "datatype 0": (70, "<h", 0, "must name a known type of values, got datatype 0"),
    "unknown datatype": (70, "<h", 9999, "must name a known type of values, got datatype 9999"),
    "offset within the header": (108, "<f", 348, "must have a vox_offset >= 352, where values begin, got 348"),
    "intercept NaN": (116, "<f", math.nan, "must scale by finite numbers, got slope 1, intercept nan"),
    "eight dimensions": (40, "<h", 8, "cannot be read as NIfTI"),
    "infinite offset": (108, "<f", math.inf, "cannot be read as NIfTI"),
    "30000 columns": (42, "<h", 30000, "holds 60 bytes of voxels, its header says 360000"),
}


@pytest.mark.parametrize(("offset", "form", "value", "said"), HEADERS.values(), ids=HEADERS)
def test_a_damaged_header_is_one_line(options: EvaluateMasksOptions, capfd, offset, form, value, said: str):
    write_masks(options.references / "a.nii", random_masks(1, 3)[..., 0])
    content = bytearray((options.references / "a.nii").read_bytes())
    struct.pack_into(form, content, offset, value)
    (options.references / "a.nii").write_bytes(content)
    where = ["--references", str(options.references), "--output-dir", str(options.output_dir), "--quiet"]
    assert invoke(["evaluate", "--predictions", str(options.predictions), *where]) == 2
    (line,) = capfd.readouterr().err.splitlines()
    assert line.startswith("mose-med: case a: ")
    assert said in line


def test_nothing_predicted_and_nothing_marked_gives_numbers(options: EvaluateMasksOptions):
    for folder in (options.predictions, options.references):
        for path in folder.rglob("*.nii*"):
            write_masks(path, np.zeros((5, 4, 3), np.uint8))
    evaluate_masks(options)
    content = json.loads((options.output_dir / "metrics.json").read_text())
    assert (content["ged"]["mean"], content["pooled_calibration"]["expected_percent"]) == (0.0, 0.0)
    assert (options.output_dir / "reliability.png").stat().st_size > 0


def test_a_taken_folder_is_refused_before_anything_is_scored(options: EvaluateMasksOptions, monkeypatch):
    evaluate_masks(options)
    monkeypatch.setattr("pipelines.evaluate.masks.run.read_mask_set", None)
    with pytest.raises(
        ConfigError, match=r"was made with classes=\[1\], not \[0, 1\]: name another or add --overwrite"
    ):
        evaluate_masks(replace(options, classes=(0, 1)))


def test_an_evaluation_goes_on_where_it_stopped_and_sees_changed_files(options: EvaluateMasksOptions, monkeypatch):
    read: list[str] = []

    def noted(place: Path, case: str, *, foreground_255: bool) -> MaskSet:
        read.append(case)
        return read_mask_set(place, case, foreground_255=foreground_255)

    (options.references / "b" / "rater-1.nii.gz").write_bytes(b"")
    with pytest.raises(DataError, match="case b"):
        evaluate_masks(options)
    write_masks(options.references / "b" / "rater-1.nii.gz", random_masks(3, 2)[..., 1])
    monkeypatch.setattr("pipelines.evaluate.masks.run.read_mask_set", noted)
    found = evaluate_masks(options)
    assert set(read) == {"b"}
    other = evaluate_masks(replace(options, output_dir=options.output_dir.with_name("other")))
    assert (found.cases, found.calibration.compute()) == (other.cases, other.calibration.compute())
    read.clear()
    assert evaluate_masks(options).cases == other.cases
    assert read == []


def test_a_refusal_leaves_no_folder(options: EvaluateMasksOptions):
    with pytest.raises(ConfigError, match="class 7 is in none of the masks"):
        evaluate_masks(replace(options, classes=(7,)))
    assert not options.output_dir.exists()
    (options.references / "a.nii").write_bytes(b"")
    with pytest.raises(DataError, match="case a"):
        evaluate_masks(options)
    assert not options.output_dir.exists()


def test_the_last_lines_tell_the_scores_and_where_they_are(options: EvaluateMasksOptions, caplog):
    with caplog.at_level("INFO"):
        found = evaluate_masks(options)
    assert caplog.messages[-2].startswith(f"2 cases: ged {found.mean('ged'):.4f}, matched_iou ")
    assert caplog.messages[-1] == f"scores are in {options.output_dir}"


def test_a_damaged_file_is_named(options: EvaluateMasksOptions):
    (options.references / "a.nii").write_bytes(b"no image")
    with pytest.raises(DataError, match=r"case a: .*a\.nii cannot be read as NIfTI: "):
        evaluate_masks(options)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('{"a": [0.5, 0.5, 0.5, 0.5], "b": [1, 0, 0, 0]}', "case a: weights must sum to 1 for each image, got 2"),
        ('{"a": [1.0]}', r"case a: weights must have shape \(1, 4\), got \(1, 1\)"),
        ('{"b": [1, 0, 0, 0]}', "weights of case a are missing"),
        ("[1]", r"weights.json must hold a list of numbers for each case"),
    ],
)
def test_wrong_weights_are_named(options: EvaluateMasksOptions, tmp_path: Path, text: str, message: str):
    (tmp_path / "weights.json").write_text(text)
    with pytest.raises((ConfigError, DataError), match=message):
        evaluate_masks(replace(options, prediction_weights=tmp_path / "weights.json"))


def test_missing_and_empty_folders_are_named(options: EvaluateMasksOptions, tmp_path: Path):
    (tmp_path / "empty").mkdir()
    with pytest.raises(ConfigError, match=r"holds no case: it needs <case>\.nii\.gz files"):
        evaluate_masks(replace(options, references=tmp_path / "empty"))
    with pytest.raises(ConfigError, match="missing does not exist"):
        evaluate_masks(replace(options, references=tmp_path / "missing"))


def test_a_data_set_is_not_overwritten_by_scores(options: EvaluateMasksOptions):
    options.output_dir.mkdir()
    (options.output_dir / "options.json").write_text('{"source": "rater-masks"}')
    (options.output_dir / "dataset.json").touch()
    with pytest.raises(ConfigError, match="was made by mose-med prepare rater-masks, not by mose-med evaluate: name"):
        evaluate_masks(replace(options, overwrite=True))
    assert (options.output_dir / "dataset.json").exists()


def test_scores_beside_a_file_of_the_users_are_not_overwritten(options: EvaluateMasksOptions):
    evaluate_masks(options)
    evaluate_masks(replace(options, overwrite=True))
    (options.output_dir / "notes.txt").touch()
    with pytest.raises(ConfigError, match=r"holds notes\.txt, which this command did not put there: move it"):
        evaluate_masks(replace(options, overwrite=True))
    assert (options.output_dir / "metrics.json").exists()


@pytest.mark.parametrize("wrong", [{"classes": (7,)}, {"prediction_weights": Path("none.csv")}, {"references": Path()}])
def test_overwriting_with_a_wrong_option_keeps_the_scores(options: EvaluateMasksOptions, wrong: dict[str, object]):
    evaluate_masks(options)
    before = {path: path.read_bytes() for path in options.output_dir.iterdir()}
    with pytest.raises(ConfigError):
        evaluate_masks(replace(options, overwrite=True, **wrong))
    assert {path: path.read_bytes() for path in options.output_dir.iterdir()} == before
    evaluate_masks(replace(options, overwrite=True, classes=(0, 1)))
    assert json.loads((options.output_dir / "options.json").read_text())["classes"] == [0, 1]
    assert (options.output_dir / "scored_cases.jsonl").read_text().count('{"case": ') == 2


def test_scores_of_files_that_have_changed_do_not_stay(options: EvaluateMasksOptions):
    evaluate_masks(options)
    (options.predictions / "b" / "sample-0.nii.gz").write_bytes(b"")
    with pytest.raises(DataError, match="case b"):
        evaluate_masks(options)
    assert sorted(path.name for path in options.output_dir.iterdir()) == ["options.json", "scored_cases.jsonl"]
