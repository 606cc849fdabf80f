from __future__ import annotations

import gzip
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from mose_med.checkpoint import build_network, load_weights, read_checkpoint
from mose_med.errors import ConfigError
from mose_med.model_config import ModelConfig
from mose_med.networks import MoSE
from mose_med.preprocessing import Preprocessing

#: A checkpoint of every version that had another set of settings than the one before, written by that version.
OF_EARLIER_VERSIONS = sorted((Path(__file__).parent / "checkpoints").glob("*.pt.gz"))
CONFIG = ModelConfig({"channels": (4, 8), "num_experts": 2}, Preprocessing(), ("background", "nodule"), num_raters=4)


@pytest.fixture(params=OF_EARLIER_VERSIONS, ids=lambda path: path.name.removesuffix(".pt.gz"))
def earlier(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """Checkpoint file of an earlier version."""
    with gzip.open(request.param) as source, (tmp_path / "best.pt").open("wb") as target:
        shutil.copyfileobj(source, target)
    return tmp_path / "best.pt"


def test_a_checkpoint_of_every_version_is_used(earlier: Path):
    checkpoint = read_checkpoint(earlier)
    network = build_network(checkpoint, str(earlier))
    assert network(torch.zeros(1, 1, 32, 32)).logits.shape == (1, 2, 2, 2, 32, 32)
    assert checkpoint.metrics["val_ged"] >= 0


def test_a_checkpoint_from_before_a_setting_had_its_default(earlier: Path):
    config = read_checkpoint(earlier).config
    later = replace(config, network=config.network | {"expert_groups": None})
    load_weights(MoSE(**config.network), earlier, later)
    with pytest.raises(ConfigError, match=r"best\.pt has network expert_groups=None, the config says \[0, 0\]"):
        load_weights(
            MoSE(**config.network), earlier, replace(config, network=config.network | {"expert_groups": [0, 0]})
        )


@pytest.mark.parametrize(("name", "default"), [("head", "release"), ("samples_per_expert", 4), ("gating", "learned")])
def test_a_setting_that_is_not_named_has_its_default(name: str, default: object):
    named = replace(CONFIG, network=CONFIG.network | {name: default})
    named.require_equal(CONFIG, "best.pt")
    CONFIG.require_equal(named, "best.pt")


def test_a_setting_that_is_not_named_is_told_from_another_value():
    other = replace(CONFIG, network=CONFIG.network | {"head": "paper"})
    with pytest.raises(ConfigError, match=r"best\.pt has network head=paper, the config says release"):
        CONFIG.require_equal(other, "best.pt")
    with pytest.raises(ConfigError, match=r"best\.pt has network head=release, the config says paper"):
        other.require_equal(CONFIG, "best.pt")


def test_an_unknown_setting_differs():
    other = replace(CONFIG, network=CONFIG.network | {"depth": 3})
    with pytest.raises(ConfigError, match=r"best\.pt has network depth=3, the config says None"):
        CONFIG.require_equal(other, "best.pt")


def test_preprocessing_that_is_not_named_has_its_default():
    values = CONFIG.to_dict()
    del values["preprocessing"]["spacing_mm"]
    CONFIG.require_equal(ModelConfig.from_dict(values), "best.pt")


def test_a_file_that_lacks_what_only_resuming_needs_is_used(earlier: Path):
    content = torch.load(earlier, weights_only=True)
    torch.save({name: content[name] for name in ("model", "config", "format")}, earlier)
    assert (read_checkpoint(earlier).epoch, read_checkpoint(earlier).ema) == (0, None)


@pytest.mark.parametrize("name", ["model", "config"])
def test_a_file_that_lacks_what_every_use_needs_is_refused(earlier: Path, name: str):
    content = torch.load(earlier, weights_only=True)
    del content[name]
    torch.save(content, earlier)
    with pytest.raises(ConfigError, match=rf"best\.pt lacks '{name}': was it written by mose-med train"):
        read_checkpoint(earlier)
