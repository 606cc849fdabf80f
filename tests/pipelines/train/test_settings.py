from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from mose_med.checkpoint import read_checkpoint
from mose_med.errors import ConfigError
from pipelines.evaluate.run import EvaluateOptions, evaluate
from pipelines.train.run import TrainOptions, train
from pipelines.train.settings import typed_settings, with_settings

CONFIG = {"learning_rate": 0.001, "seed": 0, "network": {"num_experts": 4}, "amp": False, "cost": "iou"}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("learning_rat=1", "--set learning_rat: train.yaml has no such setting: did you mean 'learning_rate'?"),
        ("network::experts=1", "network::experts: train.yaml has no such setting"),
        ("learning_rate", "--set must be name=value, got 'learning_rate'"),
        ("seed=3", "--set seed has its own option: use --seed"),
        ("cost=$print(1)", "--set cost must be a plain value"),
        ("learning_rate=fast", "--set learning_rate must be a number, got 'fast'"),
        ("cost=[1", "--set cost=\\[1 is not valid YAML"),
    ],
)
def test_a_setting_that_does_not_fit_is_refused(text: str, message: str):
    with pytest.raises(ConfigError, match=message):
        typed_settings([text], CONFIG)


def test_settings_are_typed_as_yaml_and_reach_into_others():
    typed = typed_settings(["network#num_experts=2", "amp=true", "learning_rate=1e-4"], CONFIG)
    assert typed == {"network::num_experts": 2, "amp": True, "learning_rate": 1e-4}
    assert with_settings(CONFIG, typed)["network"] == {"num_experts": 2}


@pytest.fixture
def options(tiny_datalist: Path, tiny_overlay: Path, tmp_path: Path) -> TrainOptions:
    return TrainOptions(tiny_datalist, tmp_path / "run", (str(tiny_overlay),), max_epochs=1, device="cpu", quiet=True)


def changed(options: TrainOptions, **values: object) -> TrainOptions:
    return TrainOptions(**{**vars(options), **values})


def test_typed_settings_reach_network_and_record(options: TrainOptions):
    result = train(changed(options, settings=("network::latent_dim=2",)))
    assert read_checkpoint(result.best_checkpoint).config.network["latent_dim"] == 2
    assert json.loads((result.output_dir / "options.json").read_text())["config network"]["latent_dim"] == 2


def test_raters_and_classes_are_those_of_the_data(options: TrainOptions, tmp_path: Path):
    content = json.loads(options.datalist.read_text())
    content |= {"classes": ["background", "nodule", "vessel"]}
    datalist = options.datalist.with_name("three.json")
    datalist.write_text(json.dumps(content))
    trained = read_checkpoint(train(changed(options, datalist=datalist)).best_checkpoint).config
    assert (trained.classes, trained.network["out_channels"]) == (("background", "nodule", "vessel"), 3)


def test_the_spacing_is_that_of_resampled_data(options: TrainOptions):
    content = json.loads(options.datalist.read_text()) | {"spacing_mm": 0.7}
    datalist = options.datalist.with_name("resampled.json")
    datalist.write_text(json.dumps(content))
    resampled = changed(options, datalist=datalist)
    trained = train(resampled).best_checkpoint
    assert read_checkpoint(trained).config.preprocessing.spacing_mm == 0.7
    evaluated = EvaluateOptions(datalist, trained, options.output_dir / "evaluation", num_samples=(4,), device="cpu")
    assert evaluate(evaluated).rows
    with pytest.raises(ConfigError, match=r"datalist tiny has spacing_mm 0\.7, the config says 0\.5"):
        train(changed(resampled, settings=("preprocessing::spacing_mm=0.5",), output_dir=options.output_dir / "other"))


def test_a_model_of_native_images_is_not_scored_on_resampled_ones(tiny_checkpoint: Path, options: TrainOptions):
    datalist = options.datalist.with_name("resampled.json")
    datalist.write_text(json.dumps(json.loads(options.datalist.read_text()) | {"spacing_mm": 0.7}))
    evaluated = EvaluateOptions(datalist, tiny_checkpoint, options.output_dir, num_samples=(4,), device="cpu")
    with pytest.raises(ConfigError, match=r"has spacing_mm 0\.7, .* was trained with None: prepare the data the same"):
        evaluate(evaluated)


def test_a_finished_training_goes_on_to_more_epochs(options: TrainOptions, caplog: pytest.LogCaptureFixture):
    assert train(options).epochs == 1
    longer = train(changed(options, max_epochs=3))
    assert (longer.epochs, longer.max_epochs, longer.output_dir) == (3, 3, options.output_dir)
    with pytest.raises(ConfigError, match="was made with config max_epochs=3, not 1"):
        train(options)
    with pytest.raises(ConfigError, match="was made with config learning_rate"):
        train(changed(options, max_epochs=4, settings=("learning_rate=0.5",)))


@pytest.mark.parametrize(
    ("more", "named"),
    [
        ({"configs": ("energy_distance",)}, "energy_schedule::epochs"),
        ({"settings": ("final_learning_rate=0",)}, "the learning rate, which falls to 0,"),
    ],
)
def test_what_more_epochs_would_change_is_not_extended(options: TrainOptions, more: dict[str, tuple[str]], named: str):
    first = changed(options, configs=(*options.configs, *more.get("configs", ())), settings=more.get("settings", ()))
    train(first)
    with pytest.raises(ConfigError, match=f"{named} of .* is set for 1 epochs: train in another folder"):
        train(changed(first, max_epochs=2))
    assert train(first).epochs == 1


def test_a_training_of_other_files_is_not_extended(options: TrainOptions, tmp_path: Path):
    shutil.copytree(options.datalist.parent, tmp_path / "data")
    own = changed(options, datalist=tmp_path / "data" / options.datalist.name)
    train(own)
    label = next((tmp_path / "data" / "nodules").glob("P-1*_raters.nii"))
    before = label.read_bytes()
    label.write_bytes(before[:-1] + bytes([before[-1] ^ 1]))
    with pytest.raises(ConfigError, match="was made from other files"):
        train(changed(own, max_epochs=2))
    label.write_bytes(before)
    assert train(own).epochs == 1


def test_a_rate_that_ends_with_its_epochs_cannot_be_extended(options: TrainOptions):
    cosine = changed(options, configs=(*options.configs, "cosine"))
    train(cosine)
    with pytest.raises(ConfigError, match=r"by CosineAnnealingLR, of .* is set for 1 epochs: train in another"):
        train(changed(cosine, max_epochs=2))
