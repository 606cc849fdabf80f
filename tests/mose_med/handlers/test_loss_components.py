from __future__ import annotations

from types import SimpleNamespace

import torch
from ignite.engine import Engine, Events

from mose_med.handlers import LossComponents


def test_parts_of_the_loss_are_averaged_over_each_epoch():
    loss, seen = SimpleNamespace(components={}), []

    def step(engine: Engine, value: float) -> None:
        loss.components = {"kl": torch.tensor(engine.state.epoch * value)}

    trainer = Engine(step)
    LossComponents(loss).attach(trainer)
    trainer.add_event_handler(Events.EPOCH_COMPLETED, lambda engine: seen.append(dict(engine.state.metrics)))
    trainer.run([1.0, 2.0, 6.0], max_epochs=2)
    assert seen == [{"train_kl": 3.0}, {"train_kl": 6.0}]


def test_a_loss_without_parts_has_no_such_numbers():
    trainer = Engine(lambda engine, value: None)
    LossComponents(torch.nn.MSELoss()).attach(trainer)
    assert trainer.run([1.0]).metrics == {}
