from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from ignite.engine import Engine, Events
from torch.testing import assert_close

from mose_med.checkpoint import ModelConfig, build_network, read_checkpoint
from mose_med.errors import ConfigError, DataError
from mose_med.handlers import Annealing, CheckpointKeeper, WeightAverage
from mose_med.losses import LinearSchedule, OptimalTransportLoss
from mose_med.networks import MoSE
from mose_med.preprocessing import Preprocessing

SETTINGS = {"channels": (4, 8), "num_experts": 2, "samples_per_expert": 2}
CONFIG = ModelConfig(SETTINGS, Preprocessing(roi_size=(8, 8)), ("background", "nodule"), num_raters=2)


def test_what_a_killed_process_has_left_is_gone_after_the_next_start(tmp_path: Path):
    Training(tmp_path).run(2)
    for name in ("best", "last"):
        (tmp_path / f".{name}.pt.17.tmp").write_bytes(b"half")
    Training(tmp_path).run(3)  # its epoch is not the best, so that best.pt is not written
    assert sorted(path.name for path in tmp_path.iterdir()) == ["best.pt", "last.pt", "previous.pt"]


class Training:
    """A training of one random batch an epoch, whose GED is dictated."""

    def __init__(self, folder: Path, config: ModelConfig = CONFIG, seed: int = 0) -> None:
        torch.manual_seed(seed)
        self.network = MoSE(**config.network)
        self.loss = OptimalTransportLoss(gamma=0.5)
        self.optimizer = torch.optim.Adam(self.network.parameters())
        self.scheduler = torch.optim.lr_scheduler.LinearLR(self.optimizer, total_iters=4)
        gamma = Annealing(self.loss, "gamma", LinearSchedule(start=0.5, end=1.0, epochs=3))
        self.engine = Engine(self.step)
        self.engine.on(Events.EPOCH_COMPLETED)(self.finish_epoch)
        gamma.attach(self.engine)
        self.keeper = CheckpointKeeper(
            folder,
            network=self.network,
            config=config,
            optimizer=self.optimizer,
            scheduler=self.scheduler,
            annealing={"gamma": gamma},
            ema=WeightAverage(self.network, None),
            seed=seed,
        )
        self.keeper.attach(self.engine)

    def step(self, engine: Engine, batch: object) -> None:
        generator = torch.Generator().manual_seed(engine.state.epoch)
        image = torch.rand(2, 1, 8, 8, generator=generator)
        masks = torch.randint(0, 2, (2, 2, 8, 8), generator=generator)
        self.optimizer.zero_grad()
        self.loss(self.network(image, generator=generator), masks).backward()
        self.optimizer.step()

    def finish_epoch(self, engine: Engine) -> None:
        self.scheduler.step()
        engine.state.metrics["train_loss"] = 1.0
        engine.state.metrics["val_ged"] = [0.5, 0.3, 0.4, 0.35][engine.state.epoch - 1]

    def run(self, epochs: int) -> Training:
        self.engine.run([0], max_epochs=epochs)
        return self


def test_last_is_the_last_epoch_and_best_the_lowest_metric(tmp_path: Path):
    Training(tmp_path).run(3)
    last, best = read_checkpoint(tmp_path / "last.pt"), read_checkpoint(tmp_path / "best.pt")
    assert (last.epoch, last.metrics["best_epoch"], last.metrics["best_value"]) == (3, 2, 0.3)
    assert (best.epoch, best.metrics["val_ged"], best.optimizer) == (2, 0.3, None)


def test_the_best_checkpoint_builds_its_network(tmp_path: Path):
    training = Training(tmp_path).run(1)
    network = build_network(read_checkpoint(tmp_path / "best.pt"))
    assert_close(network.state_dict(), training.network.state_dict())


def test_a_resumed_training_ends_in_the_same_weights(tmp_path: Path):
    Training(tmp_path / "stopped").run(2)
    resumed = Training(tmp_path / "stopped").run(4)
    whole = Training(tmp_path / "whole").run(4)
    assert resumed.engine.state.epoch == 4
    assert resumed.loss.gamma == whole.loss.gamma
    for name, value in whole.network.state_dict().items():
        assert torch.equal(value, resumed.network.state_dict()[name]), name
    assert resumed.keeper.best_epoch == 2


def test_a_finished_training_is_not_trained_further(tmp_path: Path):
    before = Training(tmp_path).run(2).network.state_dict()
    after = Training(tmp_path).run(2).network.state_dict()
    assert_close(after, before, rtol=0, atol=0)


def test_another_architecture_is_refused(tmp_path: Path):
    Training(tmp_path).run(1)
    other = replace(CONFIG, network=SETTINGS | {"channels": (4, 6)})
    with pytest.raises(ConfigError, match=r"network channels=\[4, 8\], the config says \[4, 6\]: name another"):
        Training(tmp_path, other).run(2)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"preprocessing": Preprocessing(roi_size=(8, 8), window_hu=(-1000, 400))}, "preprocessing window_hu is"),
        ({"classes": ("background", "cyst")}, r"has classes \['background', 'nodule'\], the data have"),
        ({"num_raters": 3}, "has num_raters 2, the data have 3"),
    ],
)
def test_other_data_are_refused(tmp_path: Path, changes: dict[str, object], message: str):
    Training(tmp_path).run(1)
    with pytest.raises(ConfigError, match=message):
        Training(tmp_path, replace(CONFIG, **changes)).run(2)


def test_another_seed_is_refused(tmp_path: Path):
    Training(tmp_path).run(1)
    with pytest.raises(ConfigError, match="was trained with seed 0, the config says 1"):
        Training(tmp_path, seed=1).run(2)


def test_other_annealings_are_refused(tmp_path: Path):
    Training(tmp_path).run(1)
    other = Training(tmp_path)
    other.keeper.annealing["temperature"] = other.keeper.annealing["gamma"]
    with pytest.raises(ConfigError, match=r"anneals \['gamma'\], the config says \['gamma', 'temperature'\]: name"):
        other.run(2)


def test_a_checkpoint_that_cannot_be_written_is_named_and_the_older_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    Training(tmp_path).run(1)

    def full(*args: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(torch, "save", full)
    with pytest.raises(
        DataError, match=r"best\.pt cannot be written \(.*No space left.*\): the previous one is intact"
    ):
        Training(tmp_path).run(2)
    assert read_checkpoint(tmp_path / "last.pt").epoch == 1
    assert [path.name for path in sorted(tmp_path.iterdir())] == ["best.pt", "last.pt"]


def test_a_damaged_last_checkpoint_is_named_and_the_one_before_goes_on(tmp_path: Path):
    Training(tmp_path).run(3)
    (tmp_path / "last.pt").write_bytes(b"damaged")
    with pytest.raises(DataError, match=r"last\.pt cannot be read: .*: delete it to resume from previous\.pt"):
        Training(tmp_path).run(4)
    (tmp_path / "last.pt").unlink()
    resumed, whole = Training(tmp_path).run(4), Training(tmp_path / "whole").run(4)
    assert_close(resumed.network.state_dict(), whole.network.state_dict(), rtol=0, atol=0)
    assert read_checkpoint(tmp_path / "previous.pt").epoch == 3


def keeper(training: Training, loss: object) -> CheckpointKeeper:
    training.keeper.loss = loss
    return training.keeper


def test_what_a_loss_keeps_between_steps_is_restored_bit_by_bit(tmp_path: Path):
    first, second = Training(tmp_path), Training(tmp_path)
    loss, later = torch.nn.BatchNorm1d(3), torch.nn.BatchNorm1d(3)
    loss(torch.randn(5, 3))
    keeper(first, loss)
    keeper(second, later)
    first.run(1)
    second.keeper.restore(second.engine)
    assert all(torch.equal(value, later.state_dict()[name]) for name, value in loss.state_dict().items())


def test_a_loss_with_another_state_is_refused(tmp_path: Path):
    Training(tmp_path).run(1)
    other = Training(tmp_path)
    keeper(other, torch.nn.BatchNorm1d(3))
    with pytest.raises(ConfigError, match=r"holds the loss state \[\], the config's loss has \['bias', "):
        other.keeper.restore(other.engine)
