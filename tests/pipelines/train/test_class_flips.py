"""Data with class flips, multimodal Cityscapes, through evaluation, bundle and retraining."""

from __future__ import annotations

import csv
import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from monai.bundle import ConfigParser

from mose_med.checkpoint import build_network, read_checkpoint
from mose_med.data import FlippedClassDataset, load_datalist, picture_centre
from mose_med.errors import ConfigError
from mose_med.metrics import CalibrationError, generalized_energy_distance
from mose_med.samples import ExpertSamples, RaterMasks
from pipelines.cli import invoke
from pipelines.evaluate.baselines import rater_probs
from pipelines.evaluate.files import read_evaluation
from pipelines.evaluate.prediction import BatchPrediction
from pipelines.evaluate.run import EvaluateOptions, evaluate
from pipelines.evaluate.scored_data import CountedClasses
from pipelines.export.configs import named_bundle
from pipelines.models.actions import register_bundle
from pipelines.models.registry import Registry
from pipelines.retrain.run import RetrainOptions, retrain
from pipelines.train.config import bundle_configs
from tests.fixtures.cityscapes_training import TrainedPictures

EXCHANGED = (1, 2, 9, 12, 14, 20, 21, 22, 23, 24)


@pytest.mark.parametrize("number", [10, 20])
def test_scores_are_those_of_the_ten_exchanged_classes(trained_pictures: TrainedPictures, tmp_path: Path, number: int):
    best = trained_pictures.training / "best.pt"
    options = EvaluateOptions(trained_pictures.datalist, best, tmp_path / "out", num_samples=(number,), quiet=True)
    row = evaluate(replace(options, device="cpu")).row("compact")
    entries = load_datalist(trained_pictures.datalist).part("test")
    item = FlippedClassDataset(entries, transform=picture_centre((16, 16)), channels=3)[0]
    raters = RaterMasks(item["label"][None], item["rater_weights"][None])
    with torch.inference_mode():
        samples = BatchPrediction(build_network(read_checkpoint(best)), item["image"][None], 0).compact(number, 0)
    ged = generalized_energy_distance(samples.masks, raters.masks, samples.weights, raters.weights, EXCHANGED)
    error = CalibrationError(mode="confidence", classes=EXCHANGED)
    error.update(samples.probs, rater_probs(raters, 25))
    assert row.ged.mean == pytest.approx(ged.item(), abs=1e-6)
    assert row.ece_percent.mean == pytest.approx(error.compute(), abs=1e-6)


def test_the_bundle_counts_the_same_classes(trained_pictures: TrainedPictures):
    names = (str(bundle_configs("cityscapes") / f"{name}.yaml") for name in ("train", "evaluate"))
    parser = ConfigParser(ConfigParser.load_config_files([*names]))
    parser.update({"datalist": str(trained_pictures.datalist), "num_raters": 32})
    counted = CountedClasses.of(load_datalist(trained_pictures.datalist))
    assert tuple(parser["metric_classes"]) == counted.regions == EXCHANGED
    handler = parser.get_parsed_content("validate::evaluator::additional_metrics::ece_percent")
    error, generator = counted.calibration(), torch.Generator().manual_seed(0)
    logits, masks = (torch.randn(2, 3, 1, 25, 8, 8, generator=generator) for _ in range(2))
    raters = RaterMasks(masks[:, :, 0].argmax(dim=2), torch.full((2, 3), 1 / 3))
    handler.update((ExpertSamples(logits, torch.full((2, 3), 1 / 3)), raters))
    error.update(logits.softmax(dim=3).mean(dim=(1, 2)), rater_probs(raters, 25))
    assert handler.compute() == pytest.approx(error.compute(), abs=1e-4)


def test_a_training_ends_with_its_scores_and_figures(trained_pictures: TrainedPictures):
    folder = trained_pictures.training / "evaluation"
    scores = read_evaluation(folder)
    assert (scores.images, scores.patients, scores.part) == (1, 1, "test")
    assert {"samples.png", "reliability.png", "per_case.csv", "modes.json", "modes.png"} <= {
        path.name for path in folder.iterdir()
    }
    assert named_bundle(trained_pictures.training / "bundle.zip") == "cityscapes"
    table = (folder / "scores.md").read_text()
    assert "| MoSE compact | 35 | 0.142 | 0.761 | 0.352 |" in table
    assert "LIDC" not in table


def test_the_command_evaluates_the_bundle(trained_pictures: TrainedPictures, tmp_path: Path):
    data = ["--datalist", str(trained_pictures.datalist), "--part", "validation", "--device", "cpu", "--quiet"]
    bundle = ["--checkpoint", str(trained_pictures.training / "bundle.zip")]
    assert invoke(["evaluate", *data, *bundle, "--output-dir", str(tmp_path / "out")]) == 0
    with (tmp_path / "out" / "per_slice.csv").open() as stream:
        assert {line["patient_id"] for line in csv.DictReader(stream)} == {"ulm"}


def test_pictures_without_the_channel_that_the_network_takes_are_refused(
    trained_pictures: TrainedPictures, tiny_pictures: Path, tmp_path: Path
):
    classes = load_datalist(trained_pictures.datalist).classes
    other = tiny_pictures.with_name("named.json")
    other.write_text(json.dumps(json.loads(tiny_pictures.read_text()) | {"classes": classes}))
    options = EvaluateOptions(other, trained_pictures.training / "best.pt", tmp_path / "out", device="cpu", quiet=True)
    with pytest.raises(Exception, match=r"training-0\.nii must have 3 channels, got 4|test-0\.nii must have 3"):
        evaluate(options)
    assert not options.output_dir.exists()


@pytest.fixture
def options(
    trained_pictures: TrainedPictures,
    mlflow_folder: Callable[[str], Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> RetrainOptions:
    """Retraining of the trained pictures' model on the same data."""
    monkeypatch.setattr("pipelines.export.bundle.torchscript_bytes", lambda *_: b"script")
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    store = str(mlflow_folder("registry"))
    register_bundle(Registry("street", store), trained_pictures.training / "bundle.zip", champion=False)
    (tmp_path / "two.json").write_text('{"batch_size": 2}')
    where = (trained_pictures.datalist, tmp_path / "out", "street", store)
    return RetrainOptions(*where, configs=(str(tmp_path / "two.json"),), max_epochs=2, device="cpu", quiet=True)


def test_a_champion_is_retrained_as_the_bundle_it_says_it_is(options: RetrainOptions):
    result = retrain(replace(options, promote="never"))
    assert (result.version, result.comparison["images"]) == (2, 1)
    assert result.comparison["ged"]["challenger"] == pytest.approx(
        result.comparison["ged"]["champion"] + result.comparison["ged"]["change"]
    )
    trained = read_checkpoint(options.output_dir / "training" / "best.pt").config
    assert (trained.network["in_channels"], trained.num_raters, len(trained.classes)) == (3, 32, 25)
    assert named_bundle(options.output_dir / "training" / "bundle.zip") == "cityscapes"


def test_a_bundle_of_unknown_name_has_to_be_told(trained_pictures: TrainedPictures, tmp_path: Path):
    shutil.unpack_archive(trained_pictures.training / "bundle.zip", tmp_path / "unpacked")
    metadata = tmp_path / "unpacked" / "bundle" / "configs" / "metadata.json"
    metadata.write_text(json.dumps(json.loads(metadata.read_text()) | {"name": "Liver"}))
    other = Path(shutil.make_archive(str(tmp_path / "other"), "zip", tmp_path / "unpacked"))
    with pytest.raises(ConfigError, match=r"other\.zip does not name its bundle: pass --bundle"):
        named_bundle(other)
