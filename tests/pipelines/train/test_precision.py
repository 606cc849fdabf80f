from __future__ import annotations

import pytest
import torch
from monai.bundle import ConfigParser

from mose_med.errors import ConfigError
from mose_med.inferers import AutocastInferer
from mose_med.networks import MoSE
from mose_med.preprocessing import Preprocessing
from pipelines.train import precision
from pipelines.train.precision import set_precision


@pytest.fixture
def parser() -> ConfigParser:
    content = {"train": {"inferer": AutocastInferer(enabled=False)}, "preprocessing": Preprocessing(roi_size=(16, 16))}
    parser = ConfigParser(content | {"network_def": MoSE(channels=(4, 8), num_experts=2)})
    parser.parse()
    return parser


@pytest.mark.parametrize(("asked", "is_short"), [("bf16", True), ("fp32", False)])
def test_a_training_computes_in_the_precision_that_is_asked_for(parser, asked: str, is_short: bool):
    assert set_precision(parser, asked) is is_short
    assert parser.get_parsed_content("train::inferer").enabled is is_short


def test_auto_tries_and_the_network_stays_in_training(parser, monkeypatch: pytest.MonkeyPatch):
    network = parser.get_parsed_content("network_def")
    before = {name: value.clone() for name, value in network.state_dict().items()}
    assert set_precision(parser, "auto") in (True, False)
    assert network.training
    torch.testing.assert_close(dict(network.state_dict()), before, rtol=0, atol=0)


def test_float16_and_an_inferer_of_an_overlay_are_refused(parser):
    with pytest.raises(ConfigError, match="precision must be auto, fp32 or bf16 for a training, got 'fp16'"):
        set_precision(parser, "fp16")
    parser["train"]["inferer"] = "another"
    parser.parse(reset=True)
    with pytest.raises(ConfigError, match="precision needs the inferer of the bundle, got str from an overlay"):
        precision.set_precision(parser, "bf16")
