"""A second network goes through everything that MoSE goes through: the seam has no special case."""

from __future__ import annotations

import json
import re
import zipfile
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import torch

import mose_med
from mose_med.checkpoint import build_network, read_checkpoint
from mose_med.io.case.folder import open_folder
from pipelines.cli import invoke
from pipelines.common.command_line.console import ExitCode
from tests.fixtures.second_network import TinyNetwork
from tests.fixtures.training import AFFINE, SIZE, disc

MODULE = "tests.fixtures.second_network"


@pytest.fixture(scope="module")
def trained(tiny_datalist: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of a training of one epoch."""
    root = tmp_path_factory.mktemp("second")
    overlay = {
        "network": {"name": "tiny", "out_channels": 2},
        "loss": {"_target_": f"{MODULE}.TinyLoss"},
        "annealing": {},
        "preprocessing::roi_size": [SIZE, SIZE],
        "batch_size": 3,
        "max_epochs": 1,
        "val_interval": 1,
        "val_samples_per_expert": 2,
    }
    (root / "tiny.yaml").write_text(json.dumps(overlay), encoding="utf-8")
    arguments = ["--datalist", tiny_datalist, "--output-dir", root / "run", "--config", root / "tiny.yaml"]
    assert run("train", *arguments, "--device", "cpu", "--no-tracking") == ExitCode.DONE
    return root / "run"


@pytest.fixture(scope="module")
def case(trained: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of a case: a bright disc in a CT, searched everywhere."""
    root = tmp_path_factory.mktemp("study")
    values = np.where(disc((16, 15), 5), 0, -800)[..., None].repeat(6, axis=2).astype(np.int16)
    nib.save(nib.Nifti1Image(values, AFFINE), root / "study.nii")
    (root / "nodules.csv").write_text(f"x_ras_mm,y_ras_mm,z_ras_mm\n{-0.7 * 16},{-0.7 * 15},5\n", encoding="utf-8")
    arguments = [root / "study.nii", "--checkpoint", trained / "best.pt", "--output-dir", root / "out"]
    arguments += ["--nodules", root / "nodules.csv", "--outputs", "all", "--report", "--form", "standard"]
    assert run("infer", *arguments, "--device", "cpu", "--samples", "3") == ExitCode.DONE
    (found,) = (root / "out").glob("case-*")
    return found


def run(*arguments: object) -> int:
    return invoke([str(argument) for argument in (*arguments, "--quiet")])


def test_the_checkpoint_names_the_network(trained: Path):
    content = torch.load(trained / "best.pt", weights_only=True)
    assert content["config"]["network"] == {"name": "tiny", "out_channels": 2}
    assert isinstance(build_network(read_checkpoint(trained / "best.pt")), TinyNetwork)


def test_the_loss_is_kept_with_its_state(trained: Path):
    assert read_checkpoint(trained / "last.pt").loss == {"steps": torch.tensor(2.0)}


def test_it_is_evaluated(trained: Path, tiny_datalist: Path, tmp_path: Path):
    arguments = ["--datalist", tiny_datalist, "--checkpoint", trained / "best.pt", "--output-dir", tmp_path / "scores"]
    assert run("evaluate", *arguments, "--device", "cpu") == ExitCode.DONE
    assert json.loads((tmp_path / "scores" / "metrics.json").read_text())["expert_probs"] == [1.0]


def test_it_cannot_be_calibrated(trained: Path, tiny_datalist: Path, tmp_path: Path, capsys: pytest.CaptureFixture):
    arguments = ["--datalist", tiny_datalist, "--checkpoint", trained / "best.pt", "--output-file", tmp_path / "new.pt"]
    assert run("calibrate", *arguments, "--device", "cpu") == ExitCode.BAD_INPUT
    assert "network TinyNetwork has no temperatures: it cannot be calibrated" in " ".join(
        capsys.readouterr().err.split()
    )


def test_it_becomes_a_bundle(trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    installed(tmp_path / "site")
    monkeypatch.setenv("PYTHONPATH", f"{tmp_path / 'site'}:{Path(__file__).parents[2]}")
    arguments = ["--checkpoint", trained / "best.pt", "--output-file", tmp_path / "tiny.zip"]
    assert run("export", "bundle", *arguments) == ExitCode.DONE
    with zipfile.ZipFile(tmp_path / "tiny.zip") as bundle:
        bundle.extractall(tmp_path)
    image = torch.rand(1, 1, SIZE, SIZE)
    probs = torch.jit.load(tmp_path / "tiny/models/model.ts")(image)
    torch.testing.assert_close(probs.sum(dim=1), torch.ones(1, SIZE, SIZE))


def installed(site: Path) -> None:
    """What an installed package leaves that declares the network: another process finds it by its name."""
    (site / "tiny-1.dist-info").mkdir(parents=True)
    (site / "tiny-1.dist-info" / "METADATA").write_text("Metadata-Version: 2.1\nName: tiny\nVersion: 1\n")
    (site / "tiny-1.dist-info" / "entry_points.txt").write_text(f"[mose_med.networks]\ntiny = {MODULE}:TinyNetwork\n")


def test_its_case_is_read_back(case: Path):
    found = open_folder(case)
    assert (found.num_experts, found.samples_per_expert) == (1, 3)
    assert found.lesions[0].expert_probs.tolist() == [1.0]
    assert mose_med.open_case(case).samples(lesion=1).shape[:2] == (1, 3)


def test_files_and_report_speak_of_samples(case: Path):
    assert (case / "sample_masks.nii.gz").is_file()
    assert [path.name for path in case.iterdir() if "expert" in path.name] == []
    page = re.sub(
        r"<(script|style)\b.*?</\1>|<[^>]*>", "", (case / "report.html").read_text(encoding="utf-8"), flags=re.S
    )
    assert "expert" not in page.lower()
    assert "3 samples, seed 0" in page
