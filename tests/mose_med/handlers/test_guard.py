from __future__ import annotations

from pathlib import Path

import pytest
import torch
from ignite.engine import Engine, Events

from mose_med.errors import ConfigError, MoseError
from mose_med.handlers import StopOnBadLoss


def training(folder: Path) -> Engine:
    """A training whose loss is what its batch says."""
    engine = Engine(lambda engine, batch: {"loss": batch["image"].sum()})
    StopOnBadLoss(folder).attach(engine)
    return engine


def batch(loss: float) -> dict[str, object]:
    return {"image": torch.tensor([loss]), "nodule_id": ["nodule-1"]}


@pytest.mark.parametrize("bad", ["nan", "inf"])
def test_a_loss_that_is_not_finite_stops_the_training(bad: str, tmp_path: Path):
    engine = training(tmp_path)
    with pytest.raises(MoseError, match=f"training loss is {bad} in epoch 1, iteration 2: lower learning_rate"):
        engine.run([batch(1.0), batch(float(bad)), batch(1.0)])
    assert engine.state.iteration == 2


def test_what_the_step_was_given_is_kept(tmp_path: Path):
    with pytest.raises(MoseError, match=r"the step's inputs are in .*run/bad_step_1\.pt"):
        training(tmp_path / "run").run([batch(float("inf"))])
    kept = torch.load(tmp_path / "run" / "bad_step_1.pt", weights_only=True)
    assert (kept["image"].item(), kept["nodule_id"], kept["epoch"]) == (float("inf"), ["nodule-1"], 1)


def test_processes_keep_what_they_were_given_apart(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(torch.distributed, "is_initialized", lambda: True)
    monkeypatch.setattr(torch.distributed, "get_rank", lambda: 1)
    with pytest.raises(MoseError, match=r"bad_step_1_rank-1\.pt"):
        training(tmp_path).run([batch(float("nan"))])
    assert torch.load(tmp_path / "bad_step_1_rank-1.pt", weights_only=True)["iteration"] == 1


def test_a_folder_that_cannot_be_written_does_not_hide_the_loss(tmp_path: Path):
    (tmp_path / "file").touch()
    with pytest.raises(MoseError, match=r"training loss is nan .* inputs cannot be saved: "):
        training(tmp_path / "file" / "run").run([batch(float("nan"))])


class OnDevice(torch.Tensor):
    """A tensor that says it is on an accelerator, and counts how often its values are read."""

    reads = 0

    @property
    def device(self) -> torch.device:
        return torch.device("cuda")

    @classmethod
    def __torch_function__(cls, func, types, args=(), kwargs=None):
        cls.reads += func.__name__ in ("item", "tolist", "cpu", "numpy", "__bool__", "__float__")
        return super().__torch_function__(func, types, args, kwargs or {})


@pytest.fixture
def accelerated(tmp_path: Path) -> Engine:
    """A training on what says it is an accelerator; losses are read every four iterations."""
    OnDevice.reads = 0
    engine = Engine(lambda engine, batch: {"loss": batch["image"].sum().as_subclass(OnDevice)})
    StopOnBadLoss(tmp_path, every=4).attach(engine)
    return engine


def test_an_accelerator_is_asked_every_few_iterations_and_at_the_end_of_an_epoch(accelerated: Engine):
    accelerated.run([batch(1.0)] * 10, max_epochs=2)
    assert OnDevice.reads == 2 * 3


@pytest.mark.parametrize("place", range(10))
def test_the_first_bad_step_is_named_however_late_it_is_read(accelerated: Engine, tmp_path: Path, place: int):
    saved: list[int] = []
    accelerated.add_event_handler(Events.EPOCH_COMPLETED, lambda engine: saved.append(engine.state.epoch))
    losses = [batch(float(number)) for number in range(10)]
    losses[place:] = [batch(float("nan"))] + [batch(float("inf"))] * (9 - place)
    message = rf"training loss is nan in epoch 1, iteration {place + 1}: .*bad_step_{place + 1}\.pt"
    with pytest.raises(MoseError, match=message):
        accelerated.run(losses)
    assert torch.load(tmp_path / f"bad_step_{place + 1}.pt", weights_only=True)["image"].isnan().all()
    assert saved == []


def test_an_interval_below_one_is_refused(tmp_path: Path):
    with pytest.raises(ConfigError, match="every must be >= 1, got 0"):
        StopOnBadLoss(tmp_path, every=0)
