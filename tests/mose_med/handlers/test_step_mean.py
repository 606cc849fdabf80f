from __future__ import annotations

import torch
from ignite.engine import Engine

from mose_med.handlers import StepMean


def test_it_is_the_mean_of_an_epoch_and_forgets_the_one_before():
    engine = Engine(lambda engine, value: {"loss": torch.tensor(value, requires_grad=True)})
    StepMean(lambda output: output["loss"]).attach(engine, "loss")
    engine.run([1.0, 2.0, 6.0])
    assert engine.state.metrics["loss"] == 3.0
    engine.run([5.0])
    assert engine.state.metrics["loss"] == 5.0
