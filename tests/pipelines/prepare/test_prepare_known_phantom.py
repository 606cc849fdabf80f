from __future__ import annotations

import csv
import hashlib
import json
from dataclasses import replace
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import torch

from data_prep.phantom.known_raters import KnownAppearance
from mose_med.data.datalist import load_datalist
from mose_med.errors import ConfigError
from mose_med.metrics import CalibrationError
from pipelines.cli import invoke
from pipelines.prepare.sources.known_phantom import PrepareKnownPhantomOptions, prepare_known_phantom


@pytest.fixture
def options(tmp_path: Path) -> PrepareKnownPhantomOptions:
    appearance = KnownAppearance(roi_size=(64, 64))
    return PrepareKnownPhantomOptions(tmp_path / "out", patients=10, appearance=appearance, quiet=True)


def test_datalist_carries_its_truth(options: PrepareKnownPhantomOptions):
    prepared = prepare_known_phantom(options)
    assert load_datalist(prepared.datalist).num_raters == 4
    content = json.loads(prepared.datalist.read_text())
    assert [len({entry["patient_id"] for entry in content[part]}) for part in ("training", "validation", "test")] == [
        6,
        2,
        2,
    ]
    error = CalibrationError()
    for entry in content["training"]:
        truth = nib.load(options.output_dir / entry["truth"])
        label = nib.load(options.output_dir / entry["label"])
        np.testing.assert_array_equal(truth.affine, label.affine)
        share = np.asarray(label.dataobj)[..., entry["slice"], :].mean(axis=-1)
        pair = (np.asarray(truth.dataobj)[..., entry["slice"]], share)
        maps = [torch.from_numpy(np.stack([1 - p, p])[None].astype(np.float32)) for p in pair]
        error.update(*maps)
    assert error.compute() < 3


def test_distribution_of_every_nodule_is_listed(options: PrepareKnownPhantomOptions):
    prepare_known_phantom(options)
    with (options.output_dir / "truth.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 10
    for row in rows:
        assert sum(float(row[f"prob_{what}"]) for what in ("nothing", "tight", "generous")) == pytest.approx(1)
        assert float(row["shift_mm_generous"]) == 1.5


def test_seed_decides_every_byte(options: PrepareKnownPhantomOptions, tmp_path: Path):
    def digest(name: str, seed: int) -> str:
        prepare_known_phantom(replace(options, output_dir=tmp_path / name, seed=seed))
        return hashlib.sha256((tmp_path / name / "manifest.json").read_bytes()).hexdigest()

    assert digest("a", 3) == digest("b", 3)
    assert digest("c", 4) != digest("a", 3)


def test_run_again_is_done_at_once(options: PrepareKnownPhantomOptions, monkeypatch):
    first = prepare_known_phantom(options)
    monkeypatch.setattr("pipelines.prepare.sources.known_phantom.draw_nodule", None)
    assert prepare_known_phantom(options) == first


@pytest.mark.parametrize(
    ("option", "message"),
    [
        ({"patients": 4}, "patients must be >= 5, one for each part, got 4"),
        ({"num_raters": 0}, "num_raters must be >= 1, got 0"),
        ({"seed": -1}, "seed must be >= 0, got -1"),
    ],
)
def test_options_are_checked(options: PrepareKnownPhantomOptions, option: dict[str, int], message: str):
    with pytest.raises(ConfigError, match=message):
        replace(options, **option)


def test_command_tells_the_two_forms_apart(tmp_path: Path, capsys):
    folder = str(tmp_path / "dicom")
    assert invoke(["prepare", "phantom", "--output-dir", folder, "--rater-disagreement", "2", "--quiet"]) == 2
    assert "--rater-disagreement needs --kind datalist" in capsys.readouterr().err.replace("\n", " ")
    known = ["prepare", "phantom", "--kind", "datalist", "--patients", "5", "--rater-disagreement", "0"]
    assert invoke([*known, "--output-dir", str(tmp_path / "known"), "--quiet"]) == 0
    assert json.loads((tmp_path / "known" / "manifest.json").read_text())["options"]["disagreement_mm"] == 0
