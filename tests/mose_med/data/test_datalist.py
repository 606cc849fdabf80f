from __future__ import annotations

import json
from pathlib import Path

import pytest

from mose_med.data import PARTS, load_datalist
from mose_med.errors import ConfigError


@pytest.fixture
def edited(tiny_datalist: Path, tmp_path: Path):
    """Write a changed copy of the tiny datalist and return its path."""

    def write(change) -> Path:
        content = json.loads(tiny_datalist.read_text())
        change(content)
        path = tmp_path / "dataset.json"
        path.write_text(json.dumps(content))
        return path

    return write


def test_every_part_has_its_patients(tiny_datalist: Path):
    datalist = load_datalist(tiny_datalist)
    patients = {part: {entry.patient_id for entry in datalist.part(part)} for part in PARTS}
    assert patients == {"training": {"P-1", "P-2"}, "validation": {"P-3", "P-4"}, "test": {"P-5", "P-6"}}


def test_paths_are_absolute_and_exist(tiny_datalist: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tiny_datalist.parent)
    for entry in load_datalist("dataset.json").part("test"):
        assert entry.image.is_absolute()
        assert entry.image.is_file()
        assert entry.label.is_file()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            lambda c: c.update(training={str(number): entry for number, entry in enumerate(50 * c["training"])}),
            r"training does not fit: .{90,110} \.\. .{60,100}is not of type 'array'$",
        ),
        (lambda c: c["training"][1].pop("image"), r"training\[1\] does not fit: 'image' is a required property"),
        (lambda c: c["test"][0].update(slice=-1), r"test\[0\]\.slice does not fit: -1 is less than the minimum of 0"),
        (lambda c: c.update(num_raters="4"), r"num_raters does not fit: '4' is not of type 'integer'"),
        (lambda c: c.pop("validation"), r"the file does not fit: 'validation' is a required property"),
        (
            lambda c: c["validation"][2].update(rater_weights=[0.5, 0.5]),
            r"validation\[2\]\.rater_weights must have num_raters = 4 entries, got 2",
        ),
        (
            lambda c: c["training"][0].update(rater_weights=[0.5, 0.5, 0.5, 0]),
            r"training\[0\]\.rater_weights must sum to 1, got 1\.5",
        ),
        (
            lambda c: c["test"][3].update(raters_present=5),
            r"test\[3\]\.raters_present must be <= num_raters = 4, got 5",
        ),
    ],
)
def test_a_wrong_entry_is_named(edited, change, message: str):
    with pytest.raises(ConfigError, match=message):
        load_datalist(edited(change))


def test_a_missing_file_is_named(tmp_path: Path):
    with pytest.raises(ConfigError, match=r"nothing\.json does not exist: name the dataset\.json"):
        load_datalist(tmp_path / "nothing.json")


def test_a_file_that_is_not_json_is_named(tmp_path: Path):
    (tmp_path / "dataset.json").write_text("{")
    with pytest.raises(ConfigError, match=r"dataset\.json is not a JSON file: Expecting property name"):
        load_datalist(tmp_path / "dataset.json")


def test_an_empty_datalist_is_refused(edited):
    with pytest.raises(ConfigError, match="has no entries: prepare found no annotated slice"):
        load_datalist(edited(lambda content: content.update(training=[], validation=[], test=[])))


def test_an_empty_part_is_refused_when_asked_for(edited):
    datalist = load_datalist(edited(lambda content: content.update(test=[])))
    with pytest.raises(ConfigError, match="datalist tiny has no test entries"):
        datalist.part("test")


def test_an_unknown_part_is_refused(tiny_datalist: Path):
    with pytest.raises(ConfigError, match="part must be one of training, validation, test, got 'train'"):
        load_datalist(tiny_datalist).part("train")


def test_other_raters_are_refused(tiny_datalist: Path):
    with pytest.raises(ConfigError, match="datalist tiny has num_raters 4, the config says 3"):
        load_datalist(tiny_datalist).require(num_raters=3, classes=["background", "nodule"])


def test_other_classes_are_refused(tiny_datalist: Path):
    with pytest.raises(ConfigError, match=r"has classes \['background', 'nodule'\], the config says \['a', 'b'\]"):
        load_datalist(tiny_datalist).require(num_raters=4, classes=["a", "b"])
