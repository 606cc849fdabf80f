"""The folder of a MONAI Label server as a source of several raters."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from data_prep.rater_masks.cases import find_cases, rater_names
from mose_med.errors import ConfigError
from pipelines.cli import invoke

SHAPE = (24, 24, 4)


@pytest.fixture
def studies(tmp_path: Path) -> Callable[[dict[str, list[str]]], Path]:
    """Function that writes a datastore: tags of every image."""

    def write(tags: dict[str, list[str]]) -> Path:
        folder = tmp_path / "studies"
        objects = {}
        for number, (image, labels) in enumerate(tags.items()):
            save(folder / f"{image}.nii.gz", np.full(SHAPE, -800 + number, np.int16))
            for shift, tag in enumerate(labels):
                mask = np.zeros(SHAPE, np.uint8)
                mask[8 + shift : 14, 8:14, 1:3] = 1
                save(folder / "labels" / tag / f"{image}.nii.gz", mask)
            entry = {tag: {"ext": ".nii.gz", "info": {}} for tag in labels}
            objects[image] = {"image": {"ext": ".nii.gz", "info": {}}, "labels": entry}
        store = {"name": "n", "description": "d", "images_dir": ".", "labels_dir": "labels", "objects": objects}
        (folder / "datastore_v2.json").write_text(json.dumps(store))
        return folder

    return write


def save(path: Path, array: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    nib.save(nib.Nifti1Image(array, np.diag([-1.0, -1.0, 2.0, 1.0])), path)


def test_every_tag_is_a_rater_but_those_of_the_model_and_of_the_last(studies):
    cases = find_cases(studies({"x": ["original", "final", "anna", "bert"], "y": ["final"], "z": ["original"]}))
    assert {case.case: sorted(case.masks) for case in cases} == {"x": ["anna", "bert"], "y": ["final"]}
    assert rater_names(cases) == ("anna", "bert", "final")


def test_the_command_makes_a_datalist_with_as_many_raters_as_the_model(studies, tmp_path: Path):
    folder = studies({f"image-{n}": ["original", "final", "anna", "bert"] for n in range(8)})
    words = ["prepare", "label-datastore", folder, "--output-dir", tmp_path / "out", "--num-raters", 4, "--crop", 16]
    assert invoke([*map(str, words), "--quiet"]) == 0
    datalist = json.loads((tmp_path / "out" / "dataset.json").read_text())
    assert (datalist["num_raters"], datalist["classes"]) == (4, ["background", "nodule"])
    assert datalist["training"][0]["rater_weights"] == [0.5, 0.5, 0.0, 0.0]


def test_more_raters_than_asked_for_are_refused(studies, tmp_path: Path, capfd):
    folder = studies({f"image-{n}": ["anna", "bert"] for n in range(8)})
    words = ["prepare", "label-datastore", folder, "--output-dir", tmp_path / "out", "--num-raters", 1]
    assert invoke([str(word) for word in words]) == 2
    assert "num_raters must be >= 2, the number of raters in the data, got 1" in capfd.readouterr().err


def test_what_is_no_datastore_is_told(studies, tmp_path: Path, capfd):
    assert invoke(["prepare", "label-datastore", str(tmp_path), "--output-dir", str(tmp_path / "out")]) == 2
    assert "has no datastore_v2.json: name the folder that the server was pointed at" in capfd.readouterr().err
    (studies({"x": ["anna"]}) / "datastore_v2.json").write_text('{"objects": []}')
    with pytest.raises(ConfigError, match="must be the datastore of a MONAI Label server"):
        find_cases(tmp_path / "studies")
