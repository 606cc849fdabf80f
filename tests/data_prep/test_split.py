from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest

from data_prep.split import read_split, require_training_and_validation, split_by_hash
from mose_med.errors import ConfigError

PATIENTS = [f"LIDC-IDRI-{number:04d}" for number in range(1, 1011)]


def test_shares_come_close_to_the_fractions():
    sizes = Counter(split_by_hash(PATIENTS, "", (0.6, 0.2, 0.2)).values())
    assert sizes["training"] / len(PATIENTS) == pytest.approx(0.6, abs=0.05)
    assert sizes["validation"] / len(PATIENTS) == pytest.approx(0.2, abs=0.05)


def test_part_does_not_depend_on_the_other_patients():
    everyone = split_by_hash(PATIENTS, "a", (0.6, 0.2, 0.2))
    some = split_by_hash(PATIENTS[100:120], "a", (0.6, 0.2, 0.2))
    assert some == {patient: everyone[patient] for patient in some}


def test_salt_changes_the_split():
    assert split_by_hash(PATIENTS, "a", (0.6, 0.2, 0.2)) != split_by_hash(PATIENTS, "b", (0.6, 0.2, 0.2))


@pytest.mark.parametrize("fractions", [(0.6, 0.2, 0.1), (1.2, -0.2, 0.0), (0.5, 0.5)])
def test_fractions_that_do_not_fit_are_refused(fractions: tuple[float, ...]):
    with pytest.raises(ConfigError, match=r"fractions must be three shares >= 0 that sum to 1, got \("):
        split_by_hash(PATIENTS, "", fractions)  # type: ignore[arg-type]


def test_split_file_is_read(tmp_path: Path):
    path = tmp_path / "split.csv"
    path.write_text("patient_id,part\nA,training\nB,test\n", encoding="utf-8-sig")
    assert read_split(path) == {"A": "training", "B": "test"}


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("patient_id,part\nA,train\n", "line 2: part must be one of training, validation, test, got 'train'"),
        ("patient_id,part\nA,test\nA,training\n", "line 3: patient A is named twice"),
        ("patient,part\nA,test\n", "must have the columns patient_id,part, got patient,part"),
        ("patient_id part\nA test\n", "must have the columns patient_id,part, got patient_id part"),
        ("", "must have the columns patient_id,part, got none"),
        ("patient_id,part\nA\n", "line 2: needs a value in the columns patient_id and part"),
    ],
)
def test_wrong_line_is_named(tmp_path: Path, content: str, message: str):
    path = tmp_path / "split.csv"
    path.write_text(content)
    with pytest.raises(ConfigError, match=message):
        read_split(path)


@pytest.mark.parametrize(
    "content", ["\ufeffpatient_id,part\r\nA,test\r\n", "patient_id, part\nA, test\n", "Patient_ID;Part;\nA;test;\n;;\n"]
)
def test_split_files_of_any_program_are_read(tmp_path: Path, content: str):
    (tmp_path / "split.csv").write_text(content, encoding="utf-8")
    assert read_split(tmp_path / "split.csv") == {"A": "test"}


def test_missing_split_file_is_named(tmp_path: Path):
    with pytest.raises(ConfigError, match=r"split file .*none\.csv cannot be read: No such file"):
        read_split(tmp_path / "none.csv")


@pytest.mark.parametrize("part", ["training", "validation"])
def test_empty_part_is_refused_by_name(part: str):
    sizes = {"training": 1, "validation": 1, "test": 0, part: 0}
    with pytest.raises(ConfigError, match=f"{part} part has no patient, of 1 in all: use another --split-salt"):
        require_training_and_validation(sizes, "patient")


def test_empty_test_part_is_allowed():
    require_training_and_validation({"training": 1, "validation": 1}, "patient")
