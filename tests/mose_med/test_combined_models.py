from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from mose_med.checkpoint import Checkpoint, ModelConfig, read_checkpoint, write_checkpoint
from mose_med.combined_models import augmented_checkpoint, ensemble_checkpoint
from mose_med.errors import ConfigError
from mose_med.networks.registry import build
from mose_med.preprocessing import Preprocessing

UNET = {"name": "deterministic_unet", "channels": [4, 6]}
MOSE = {"name": "mose", "channels": [4, 6], "num_experts": 3, "head": "paper"}


def written(path: Path, settings: dict[str, Any], *, roi_size: tuple[int, int] = (8, 8), **entries: Any) -> Path:
    torch.manual_seed(len(path.name))
    config = ModelConfig(settings, Preprocessing(roi_size=roi_size), ("background", "nodule"), 4)
    write_checkpoint(path, Checkpoint(build(settings).state_dict(), config, **entries))
    return path


def loaded(path: Path) -> Any:
    checkpoint = read_checkpoint(path)
    network = build(checkpoint.config.to_dict()["network"])
    network.load_state_dict(checkpoint.model)
    return network.eval()


def test_an_ensemble_is_a_checkpoint_of_all_its_members(tmp_path: Path):
    paths = [written(tmp_path / "a.pt", UNET), written(tmp_path / "long.pt", MOSE)]
    write_checkpoint(tmp_path / "ensemble.pt", ensemble_checkpoint(paths))
    network, image = loaded(tmp_path / "ensemble.pt"), torch.randn(1, 1, 8, 8)
    alone = loaded(paths[0])
    torch.testing.assert_close(network(image, samples_per_expert=1).logits[:, :1], alone(image).logits)
    assert network.num_experts == 4


def test_averaged_weights_are_taken_and_records_of_training_are_kept_once(tmp_path: Path):
    average = {name: torch.full_like(value, 2) for name, value in build(UNET).state_dict().items()}
    records = {"learnt_from": [{"dataset": "one"}]}
    paths = [written(tmp_path / "a.pt", UNET, ema=average, **records), written(tmp_path / "b.pt", UNET, **records)]
    whole = ensemble_checkpoint(paths)
    assert float(whole.model["members.0.classify.bias"].mean()) == 2.0
    assert whole.learnt_from == records["learnt_from"]


def test_test_time_augmentation_wraps_a_checkpoint(tmp_path: Path):
    write_checkpoint(tmp_path / "tta.pt", augmented_checkpoint(written(tmp_path / "a.pt", UNET)))
    network = loaded(tmp_path / "tta.pt")
    assert network(torch.randn(1, 1, 8, 8)).logits.shape == (1, 8, 1, 2, 8, 8)


def test_members_that_saw_other_images_are_refused(tmp_path: Path):
    paths = [written(tmp_path / "a.pt", UNET), written(tmp_path / "b.pt", UNET, roi_size=(16, 16))]
    with pytest.raises(ConfigError, match=r"b\.pt has preprocessing|roi_size"):
        ensemble_checkpoint(paths)


def test_an_ensemble_of_none_is_refused():
    with pytest.raises(ConfigError, match="an ensemble needs at least one checkpoint, got none"):
        ensemble_checkpoint([])
