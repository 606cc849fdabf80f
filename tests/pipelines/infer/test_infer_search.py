"""Inference without listed positions: over the lungs, or everywhere."""

from __future__ import annotations

import csv
import dataclasses
import io
import json
import re
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest
from rich.console import Console
from rich.status import Status

from mose_med.errors import GeometryError
from pipelines.cli import invoke
from pipelines.common.command_line.console import ExitCode
from pipelines.infer import run
from pipelines.infer.run import InferOptions, infer


@pytest.fixture
def options(tmp_path: Path, chest, infer_checkpoint) -> InferOptions:
    nib.save(nib.Nifti1Image(chest.numpy()[0], chest.affine.numpy()), tmp_path / "chest.nii.gz")
    return InferOptions(tmp_path / "chest.nii.gz", tmp_path / "out", infer_checkpoint, quiet=True, outputs=("all",))


def test_the_terminal_says_how_far_a_search_is(options: InferOptions, monkeypatch: pytest.MonkeyPatch):
    shown = io.StringIO()
    terminal = Console(file=shown, force_terminal=True, width=80)
    monkeypatch.setattr(run, "stderr", terminal)
    texts: list[str] = []
    status = Status.update
    monkeypatch.setattr(Status, "update", lambda line, text: (texts.append(text), status(line, text))[1])
    infer(dataclasses.replace(options, quiet=False))
    assert texts[:2] == ["infer: read", "infer: infer"]
    assert any(re.fullmatch(r"infer: 1 of \d+ slices", text) for text in texts)
    assert texts[-1] == "infer: write"
    assert "infer: " in shown.getvalue()


def looked(folder: Path) -> np.ndarray:
    return np.asarray(nib.load(folder / "expert_probs.nii.gz").dataobj).any(axis=-1)


def write_mask(path: Path, chest, shape: tuple[int, ...] | None = None) -> Path:
    mask = np.zeros(shape or chest.shape[1:], dtype=np.uint8)
    mask[50:60, 20:30, 5:9] = 1
    nib.save(nib.Nifti1Image(mask, chest.affine.numpy()), path)
    return path


def lesions_of(folder: Path) -> list[dict[str, Any]]:
    return json.loads((folder / "lesions.json").read_text())["lesions"]


def test_the_lungs_are_searched_and_what_is_found_is_looked_at(options: InferOptions):
    result = infer(dataclasses.replace(options, lesion_threshold=0.01, min_lesion_ml=0.0))
    assert lesions_of(result.folder)
    assert looked(result.folder).any()
    assert json.loads((result.folder / "run.json").read_text())["windows"] > 22
    recorded = json.loads((result.folder / "provenance.json").read_text())
    assert recorded["options"]["region"] == "lungs"
    assert recorded["request"]["nodules"] == []


def test_the_full_volume_is_looked_at(options: InferOptions):
    result = infer(dataclasses.replace(options, region="full"))
    assert looked(result.folder).all()


def test_what_is_found_is_numbered_in_files_and_tables(options: InferOptions):
    result = infer(dataclasses.replace(options, region="full", lesion_threshold=0.01, min_lesion_ml=0.0))
    lesions = json.loads((result.folder / "lesions.json").read_text())["lesions"]
    assert lesions
    assert [lesion["nodule_id"] for lesion in lesions] == [str(n + 1) for n in range(len(lesions))]
    assert all(lesion["position_mm"] == lesion["centroid_mm"] for lesion in lesions)
    split = lesions[0]["entropy"]
    np.testing.assert_allclose(split["total"], split["between"] + split["within"], atol=2e-6)
    with (options.output_dir / "summary.csv").open(newline="") as stream:
        assert [row["nodule_id"] for row in csv.DictReader(stream)] == [lesion["nodule_id"] for lesion in lesions]


def test_a_lung_mask_is_followed_and_recorded(options: InferOptions, chest, tmp_path: Path):
    mask = write_mask(tmp_path / "lung.nii", chest)
    result = infer(dataclasses.replace(options, lung_mask=mask, lesion_threshold=0.01, min_lesion_ml=0.0))
    (lesion,) = lesions_of(result.folder)
    place = np.linalg.solve(chest.affine.numpy(), [*lesion["position_mm"]["ras"], 1])[:3]
    assert (np.abs(place[:2] - (55, 25)) < 16).all()
    assert len(json.loads((result.folder / "provenance.json").read_text())["request"]["lung_mask_sha256"]) == 64


def test_a_mask_of_another_grid_leaves_nothing_behind(options: InferOptions, chest, tmp_path: Path):
    mask = write_mask(tmp_path / "lung.nii", chest, (80, 64, 21))
    with pytest.raises(GeometryError, match=r"lung.nii must lie on the grid of the study: its shape is \(80, 64, 21\)"):
        infer(dataclasses.replace(options, lung_mask=mask))
    assert not options.output_dir.exists()


def test_the_same_search_gives_the_same_bytes(options: InferOptions):
    first, again = (
        infer(dataclasses.replace(options, output_dir=options.output_dir / name)).folder for name in ("a", "b")
    )
    for path in first.iterdir():
        if path.name != "run.json":
            assert path.read_bytes() == (again / path.name).read_bytes()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            ["--nodules", "n.csv", "--region", "full"],
            "--region applies only without a nodule list",
        ),
        (["--region", "full", "--lung-mask", "m.nii"], "--lung-mask applies only to --region lungs, got --region full"),
        (["--overlap", "1"], "1 is not in the range 0<=x<1."),
    ],
)
def test_options_that_do_not_go_together_are_bad_usage(
    options: InferOptions, capsys, arguments: list[str], message: str
):
    command = ["infer", str(options.source), "--output-dir", str(options.output_dir)]
    assert invoke([*command, "--checkpoint", str(options.checkpoint), *arguments]) == ExitCode.BAD_INPUT
    assert message in " ".join(capsys.readouterr().err.split())
    assert not options.output_dir.exists()
