from __future__ import annotations

import json
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from pipelines.cli import invoke
from pipelines.common.command_line.console import ExitCode


@pytest.fixture
def folders(tmp_path: Path) -> list[str]:
    """Arguments of the mode without a model, one case."""
    for seed, name in enumerate(("predictions", "references")):
        (tmp_path / name).mkdir()
        masks = np.random.default_rng(seed).integers(0, 3, (4, 4, 2, 3)).astype(np.uint8)
        nib.save(nib.Nifti1Image(masks, np.eye(4)), tmp_path / name / "a.nii.gz")
    names = ("predictions", "references")
    return [
        "evaluate",
        "--output-dir",
        str(tmp_path / "out"),
        *(x for n in names for x in (f"--{n}", str(tmp_path / n))),
    ]


def test_masks_are_scored_without_a_model(folders: list[str], tmp_path: Path):
    assert invoke([*folders, "--class-values", "1", "2", "--quiet"]) == ExitCode.DONE
    content = json.loads((tmp_path / "out" / "metrics.json").read_text())
    assert 0.0 < content["ged"]["mean"] < 2.0
    assert json.loads((tmp_path / "out" / "options.json").read_text())["classes"] == [1, 2]


def test_a_checkpoint_is_scored_with_several_numbers_of_samples(
    tiny_datalist: Path, tiny_checkpoint: Path, tmp_path: Path
):
    inputs = ["--datalist", str(tiny_datalist), "--checkpoint", str(tiny_checkpoint), "--device", "cpu"]
    numbers = ["--num-samples", "4", "8", "--seeds", "2"]
    assert invoke(["evaluate", *inputs, *numbers, "--output-dir", str(tmp_path / "out"), "--quiet"]) == ExitCode.DONE
    content = json.loads((tmp_path / "out" / "metrics.json").read_text())
    assert content["seeds"] == [0, 1]
    assert {row["num_samples"] for row in content["rows"] if row["method"] == "standard"} == {4, 8}


def test_a_class_that_no_mask_has_is_named(folders: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    assert invoke([*folders, "--class-values", "1", "7", "--quiet"]) == ExitCode.BAD_INPUT
    assert "class 7 is in none of the masks, which hold 0, 1, 2: name one of these" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "give either --datalist (with --checkpoint) or --predictions and --references, got none"),
        (["--checkpoint", "c.pt"], "got --checkpoint"),
        (["--predictions", "p"], "got --predictions"),
        (["--datalist", "d.json", "--references", "r"], "got --datalist and --references"),
        (["--predictions", "p", "--references", "r", "--checkpoint", "c"], "got --checkpoint and --predictions and"),
        (
            ["--predictions", "p", "--references", "r", "--num-samples", "4"],
            "--num-samples cannot be combined with --predictions",
        ),
        (
            ["--datalist", "d", "--checkpoint", "c", "--class-values", "2"],
            "--class-values cannot be combined with --datalist",
        ),
    ],
)
def test_exactly_one_pair_of_inputs_is_wanted(
    arguments: list[str], message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    assert invoke(["evaluate", "--output-dir", str(tmp_path / "out"), *arguments]) == ExitCode.BAD_INPUT
    assert message in capsys.readouterr().err
    assert not (tmp_path / "out").exists()
