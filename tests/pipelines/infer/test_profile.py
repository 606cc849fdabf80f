from __future__ import annotations

import json
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from pipelines.cli import invoke


@pytest.fixture
def arguments(infer_checkpoint: Path, tmp_path: Path) -> list[str]:
    nib.save(nib.Nifti1Image(np.zeros((20, 20, 3), np.int16), np.eye(4)), tmp_path / "ct.nii.gz")
    where = [str(tmp_path / "ct.nii.gz"), "--output-dir", str(tmp_path / "out"), "--region", "full"]
    return ["infer", *where, "--checkpoint", str(infer_checkpoint), "--device", "cpu"]


def content(tmp_path: Path, name: str) -> dict:
    (path,) = (tmp_path / "out").glob(f"*/{name}")
    return json.loads(path.read_text())


def test_the_profile_is_what_run_json_tells(arguments: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    assert invoke([*arguments, "--profile"]) == 0
    run, said = content(tmp_path, "run.json"), capsys.readouterr().err
    for stage in ("start", "load", "read", "infer", "write"):
        (line,) = [line for line in said.splitlines() if line.startswith(stage)]
        assert f"{run[f'{stage}_s']:.2f}" in line
    assert f"{run['windows']} windows on 3 slices" in said


def test_a_profile_is_of_one_input(arguments: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    many = ["infer", "--input-dir", str(tmp_path), "--output-dir", str(tmp_path / "out"), "--profile"]
    assert invoke(many) == 2
    assert "--profile applies only to one INPUT: for many, see the run.json of each case" in capsys.readouterr().err


@pytest.mark.parametrize(("asked", "taken"), [("bf16", {"bf16"}), ("auto", {"fp32", "bf16"})])
def test_the_precision_is_recorded(arguments: list[str], tmp_path: Path, asked: str, taken: set[str]):
    assert invoke([*arguments, "--precision", asked, "--quiet"]) == 0
    provenance = content(tmp_path, "provenance.json")
    assert provenance["options"]["precision"] == asked
    assert provenance["environment"]["precision"] in taken
