from __future__ import annotations

import pytest
import torch
from ignite.engine import Engine
from torch import nn

from mose_med.errors import ConfigError
from mose_med.handlers import BufferAverage, WeightAverage


def network(weight: float) -> nn.Module:
    layer = nn.Sequential(nn.Linear(1, 1, bias=False), nn.BatchNorm1d(1))
    layer[0].weight.data.fill_(weight)
    return layer


def test_the_average_moves_by_the_decay_and_begins_with_the_first_step():
    trained = network(0.0)
    average = WeightAverage(trained, 0.75)
    engine = Engine(lambda engine, weight: trained[0].weight.data.fill_(weight))
    average.attach(engine)
    engine.run([4.0, 8.0, 0.0])
    assert average.network[0].weight.item() == pytest.approx(0.75 * (0.75 * 4.0 + 0.25 * 8.0))


def test_running_statistics_are_averaged_too():
    trained = network(1.0)
    average = WeightAverage(trained, 0.5)
    for mean in (2.0, 4.0):
        trained[1].running_mean.fill_(mean)
        average()
    assert average.network[1].running_mean.item() == 3.0


def test_an_average_that_is_taken_back_goes_on():
    first, second = (WeightAverage(network(0.0), 0.5) for _ in range(2))
    for average in (first, second):
        average()
    first.network[0].weight.data.fill_(6.0)
    second.load_state_dict(first.state_dict())
    second()
    assert second.network[0].weight.item() == 3.0


def test_without_a_decay_the_network_is_the_trained_one():
    trained = network(1.0)
    average = WeightAverage(trained, None)
    assert average.network is trained
    assert average.state_dict() is None


def test_a_checkpoint_without_the_average_is_refused():
    with pytest.raises(ConfigError, match=r"ema is False in the checkpoint, but True in the config \(ema_decay\)"):
        WeightAverage(network(0.0), 0.5).load_state_dict(None)


@pytest.mark.parametrize("decay", [-0.1, 1.0])
def test_a_decay_out_of_range_is_refused(decay: float):
    with pytest.raises(ConfigError, match=rf"ema_decay must be in \[0, 1\), got {decay}"):
        WeightAverage(network(0.0), decay)


def test_one_process_keeps_its_statistics():
    trained = network(0.0)
    trained[1].running_mean.fill_(5.0)
    BufferAverage([trained, trained])()
    assert torch.equal(trained[1].running_mean, torch.tensor([5.0]))
