from __future__ import annotations

import math

import pytest
import torch
from ignite.engine import Engine

from mose_med.errors import MoseError
from mose_med.handlers import ExpertUse
from mose_med.samples import ExpertSamples


def epoch(metric: ExpertUse, *batches: list[list[float]]) -> float:
    engine = Engine(lambda _, probs: {"pred": ExpertSamples(torch.zeros(1), torch.tensor(probs))})
    metric.attach(engine, "experts")
    engine.run(batches)
    return engine.state.metrics["experts"]


def test_it_is_the_effective_number_of_experts():
    assert epoch(ExpertUse(2), [[1.0, 0.0]], [[0.0, 1.0]]) == pytest.approx(2.0)
    entropy = -0.75 * math.log(0.75) - 0.25 * math.log(0.25)
    assert epoch(ExpertUse(2), [[1.0, 0.0], [0.5, 0.5]]) == pytest.approx(math.exp(entropy))


def test_an_expert_that_no_image_needs_is_told(caplog: pytest.LogCaptureFixture):
    epoch(ExpertUse(3), [[0.50, 0.49, 0.01]], [[0.96, 0.04, 0.0]])
    expected = (
        "dead experts: 3 of 3; no validation image gives them 5 % or more, so their samples are wasted; 1.8 experts"
    )
    assert caplog.messages == [f"{expected} in effect"]


def test_an_expert_that_one_image_needs_is_alive(caplog: pytest.LogCaptureFixture):
    epoch(ExpertUse(2), [[0.99, 0.01], [0.94, 0.06]])
    assert caplog.messages == []


def test_many_even_experts_are_alive(caplog: pytest.LogCaptureFixture):
    epoch(ExpertUse(35), [[1 / 35] * 35])
    assert caplog.messages == []


def test_the_same_deaths_are_told_once(caplog: pytest.LogCaptureFixture):
    metric = ExpertUse(3)
    for probs in ([1.0, 0.0, 0.0], [0.98, 0.01, 0.01], [0.5, 0.5, 0.0], [0.5, 0.5, 0.0]):
        epoch(metric, [probs])
    assert [message.split(";")[0] for message in caplog.messages] == [
        "dead experts: 2, 3 of 3",
        "dead experts: 3 of 3",
    ]


def test_it_needs_an_image():
    metric = ExpertUse(2)
    with pytest.raises(MoseError, match="expert use needs at least one validation image, got none"):
        metric.compute()
