from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from monai.bundle import ConfigParser

from mose_med.errors import ConfigError
from mose_med.model_config import ModelConfig
from mose_med.preprocessing import Preprocessing
from pipelines.retrain.fine_tuning import fine_tuning_configs
from pipelines.train.config import config_files
from pipelines.train.trial_step import try_step

SETTINGS = {
    "mose": {"num_experts": 3, "samples_per_expert": 2},
    "phiseg": {"latent_dim": 1},
    "probabilistic_unet": {},
    "stochastic_segmentation_network": {"rank": 2},
    "deterministic_unet": {},
}


def champion(name: str, **settings: object) -> ModelConfig:
    network = {"name": name, "channels": [8, 8, 8, 8], **settings}
    return ModelConfig(network, Preprocessing(roi_size=(32, 32)), ("background", "nodule"), 4)


@pytest.mark.parametrize("name", SETTINGS)
def test_the_training_of_a_champion_goes_on_with_its_network_and_its_loss(tmp_path: Path, name: str):
    configs = fine_tuning_configs(tmp_path / "finetune.json", champion(name, **SETTINGS[name]), "lidc_small", ())
    parser = ConfigParser(
        ConfigParser.load_config_files([str(path) for path in config_files("lidc_small", configs, tracking=True)])
    )
    parser.update({"device_name": "cpu"})
    network, loss, annealings, model = (
        parser.get_parsed_content(part) for part in ("network_def", "loss", "annealing", "model_config")
    )
    assert (model.network_name, model.network["channels"]) == (name, [8, 8, 8, 8])
    assert {key: model.network[key] for key in SETTINGS[name]} == SETTINGS[name]
    masks = torch.zeros(4, 32, 32, dtype=torch.long)
    slice_ = {"image": torch.randn(1, 32, 32), "label": masks, "rater_weights": torch.full((4,), 0.25)}
    try_step(network, loss, annealings, [slice_])


def test_a_network_whose_loss_nobody_knows_is_refused_unless_a_config_file_is_named(tmp_path: Path):
    own = champion("one_of_ones_own")
    with pytest.raises(ConfigError, match="of the network 'one_of_ones_own': name the config file of its loss"):
        fine_tuning_configs(tmp_path / "finetune.json", own, "lidc_small", ())
    assert fine_tuning_configs(tmp_path / "finetune.json", own, "lidc_small", ("own.yaml",))[-1] == "own.yaml"
    assert json.loads((tmp_path / "finetune.json").read_text())["model"]["name"] == "one_of_ones_own"
