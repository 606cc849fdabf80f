"""Every other method goes through every command: trained, stopped and resumed, tracked, scored, exported, inferred."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
import torch

import mose_med
from mose_med.checkpoint import read_checkpoint
from mose_med.networks.registry import network_class
from pipelines.cli import invoke
from pipelines.common.command_line.console import ExitCode
from tests.fixtures.training import SIZE, disc

pytestmark = pytest.mark.slow

OVERLAYS = (
    "calibrated_adversarial_refinement",
    "deterministic_unet",
    "hierarchical_probabilistic_unet",
    "hu_variability",
    "mc_dropout",
    "phiseg",
    "probabilistic_unet",
    "stochastic_segmentation_network",
)
SETTINGS = {
    "network::channels": [4, 4, 6, 8, 8],
    "preprocessing::roi_size": [SIZE, SIZE],
    "batch_size": 3,
    "max_epochs": 3,
    "val_interval": 1,
    "gamma_epochs": 2,
}
SLICES = 6


class Trained(NamedTuple):
    """A model by its overlay, trained in one go and tracked; the arguments that trained it."""

    overlay: str
    arguments: list[object]
    folder: Path


def run(*arguments: object) -> None:
    assert invoke([str(argument) for argument in (*arguments, "--quiet")]) == ExitCode.DONE


@pytest.fixture(scope="module", params=OVERLAYS)
def trained(request: pytest.FixtureRequest, tiny_datalist: Path, tmp_path_factory: pytest.TempPathFactory) -> Trained:
    root = tmp_path_factory.mktemp(request.param)
    (root / "tiny.yaml").write_text(json.dumps(SETTINGS), encoding="utf-8")
    arguments = ["--datalist", tiny_datalist, "--bundle", "lidc_small", "--device", "cpu", "--threads", "1"]
    arguments += ["--config", root / "tiny.yaml", "--config", request.param]
    run("train", *arguments, "--output-dir", root / "run")
    return Trained(request.param, arguments, root / "run")


@pytest.fixture(scope="module")
def cases(
    trained: Trained, write_ct_series: Callable[..., list[Path]], tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """Output of a cohort of two studies, each a series whose slices are all the same."""
    root = tmp_path_factory.mktemp("studies")
    for study in ("first", "second"):
        folder = root / "in" / study
        plane = np.where(disc((16, 15), 5), 0, -850) + np.random.default_rng(0).integers(-9, 9, (SIZE, SIZE))
        write_ct_series(folder, np.repeat(plane[None], SLICES, axis=0).astype(np.int16), step_mm=2.0)
        image = mose_med.io.read_ct(folder)
        centre = ",".join(f"{value:.2f}" for value in (np.asarray(image.affine) @ [16, 15, 3, 1])[:3])
        (folder / "nodules.csv").write_text(f"x_ras_mm,y_ras_mm,z_ras_mm\n{centre}\n", encoding="utf-8")
    arguments = ["--input-dir", root / "in", "--checkpoint", trained.folder / "best.pt", "--output-dir", root / "out"]
    arguments += ["--samples", "3", "--report", "--dicom", "seg,fractional,sr", "--dicom-seg-obstacle", "skip"]
    run("infer", *arguments, "--outputs", "all", "--maps", "full", "--device", "cpu", "--workers", "1")
    return root / "out"


def test_a_stopped_training_goes_on_bit_identically(trained: Trained, tmp_path: Path):
    resumed = [*trained.arguments, "--no-tracking", "--output-dir", tmp_path / "run"]
    for _ in range(2):
        assert invoke([str(each) for each in ("train", *resumed, "--max-minutes", "1e-6", "--quiet")]) == ExitCode.DONE
    assert read_checkpoint(tmp_path / "run" / "last.pt").epoch == 2
    run("train", *resumed)
    straight, stopped = (read_checkpoint(folder / "last.pt") for folder in (trained.folder, tmp_path / "run"))
    for part in ("model", "loss", "optimizer"):
        torch.testing.assert_close(getattr(stopped, part), getattr(straight, part), rtol=0.0, atol=0.0, equal_nan=True)


def test_the_tracked_training_ends_with_scores_and_a_bundle(trained: Trained):
    scores = json.loads((trained.folder / "evaluation" / "metrics.json").read_text())
    assert all(np.isfinite(row["ged"]["mean"]) for row in scores["rows"])
    assert (trained.folder / "bundle.zip").is_file()
    config = read_checkpoint(trained.folder / "best.pt").config
    assert network_class(config.network_name).__name__ == network_class(trained.overlay).__name__


def test_the_bundle_gives_the_samples_of_the_checkpoint(trained: Trained):
    image = torch.randn(2, 1, SIZE, SIZE, generator=torch.Generator().manual_seed(0))
    found = []
    for weights in (trained.folder / "best.pt", trained.folder / "bundle.zip"):
        network = mose_med.load_model(weights, device="cpu").network
        with torch.inference_mode():
            found.append(network(image, samples_per_expert=3, generator=torch.Generator().manual_seed(1)).logits)
    torch.testing.assert_close(*found, rtol=0.0, atol=0.0)


def test_a_cohort_has_maps_reports_and_objects(trained: Trained, cases: Path):
    folders = sorted(cases.glob("case-*"))
    assert len(folders) == 2
    for folder in folders:
        assert {"sample_masks.nii.gz", "probability.nii.gz", "report.html", "lesions.json"} <= names(folder)
        case = mose_med.open_case(folder)
        assert case.samples(lesion=1).shape[:2] == (1, 3)
        drawn = case.samples(lesion=1)
        assert ("seg.dcm" in names(folder)) == bool(np.asarray(drawn).any() and case.lesions[0].volume_ml.mean > 0)


def test_a_sample_is_the_same_in_equal_slices_but_for_the_noise_of_voxels(trained: Trained, cases: Path):
    case = mose_med.open_case(sorted(cases.glob("case-*"))[0])
    probability = np.asarray(case.probability(lesion=1))
    assert probability.shape[2] > 1
    change = np.ptp(probability, axis=2).max()
    assert change > 0.0 if trained.overlay == "stochastic_segmentation_network" else change < 1e-3


def names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}
