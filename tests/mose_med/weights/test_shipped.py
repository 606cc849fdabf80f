from __future__ import annotations

import logging
from pathlib import Path

import pytest
import torch

from mose_med.checkpoint import build_network, read_checkpoint
from mose_med.errors import ConfigError
from mose_med.weights import shipped
from mose_med.weights.files import weights_file
from mose_med.weights.shipped import chosen_checkpoint, shipped_bundle

LARGEST_MB = 15


def test_the_shipped_weights_are_a_network_of_the_bundle():
    with weights_file(shipped_bundle()) as path:
        checkpoint = read_checkpoint(path)
    network = build_network(checkpoint)
    assert network(torch.zeros(1, 1, 64, 64)).logits.shape[-2:] == (64, 64)
    assert checkpoint.config.classes == ("background", "nodule")
    assert checkpoint.learnt_from


def test_files_of_weights_are_small_enough_to_live_in_a_repository():
    sizes = {path.name: path.stat().st_size for path in (shipped_bundle() / "models").iterdir()}
    assert {"model.pt", "model.ts", "model_config.json"} <= set(sizes)
    assert max(sizes.values()) <= LARGEST_MB * 1e6


def test_the_torchscript_is_the_same_model():
    folder = shipped_bundle() / "models"
    scripted = torch.jit.load(str(folder / "model.ts")).eval()
    weights = torch.load(folder / "model.pt", weights_only=True)
    own = scripted.state_dict()
    assert all(torch.equal(own[name], value) for name, value in weights.items())


def test_a_checkpoint_that_is_named_is_taken(tmp_path: Path):
    assert chosen_checkpoint(tmp_path / "best.pt") == tmp_path / "best.pt"


def test_what_is_taken_by_default_is_told_once(caplog: pytest.LogCaptureFixture):
    shipped._log_version.cache_clear()
    with caplog.at_level(logging.INFO):
        assert chosen_checkpoint(None) == chosen_checkpoint(None) == shipped_bundle()
    (line,) = [record.getMessage() for record in caplog.records if record.name == "mose_med.weights.shipped"]
    assert line.startswith("weights: lidc_small ")
    assert "shipped with mose-med (sha256 " in line


def test_an_installation_without_weights_says_what_to_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(shipped, "files", lambda package: tmp_path)
    with pytest.raises(ConfigError, match="weights of lidc_small are missing from this installation"):
        chosen_checkpoint(None)
