"""Temperatures of toy networks whose raters are drawn from the network itself at a known temperature."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from mose_med.metrics import generalized_energy_distance, matched_iou
from mose_med.networks import MoSE
from mose_med.networks.temperature import temper
from mose_med.samples import ExpertSamples, RaterMasks
from pipelines.calibrate.gating import expert_probs_by_temperature, gating_scores, within_experts
from pipelines.calibrate.grid import NEUTRAL, TEMPERATURES, lowest
from pipelines.calibrate.logits import LogitsTable
from pipelines.evaluate.prediction import SampleSet
from pipelines.evaluate.scored_data import CountedClasses

COUNTED = CountedClasses((1,), None, (1,))
FEATURE = torch.randn(3, 8, generator=torch.Generator().manual_seed(0))


class Shown:
    """Images whose global feature is :data:`FEATURE`."""

    def __init__(self, network: MoSE) -> None:
        self.network = network

    def expert_probs(self) -> Tensor:
        return self.network.gating(FEATURE)


EVEN = torch.full((3, 2, 2), 0.5)


@pytest.fixture
def network() -> MoSE:
    torch.manual_seed(0)
    network = MoSE(channels=(4, 8), num_experts=2)
    torch.nn.init.normal_(network.gating.layers[4].weight)
    return network.eval()


def expert_masks() -> SampleSet:
    """Both samples of the first expert mark one row, those of the second another."""
    masks = torch.zeros(3, 4, 4, 4, dtype=torch.uint8)
    masks[:, :2, 0], masks[:, 2:, 2] = 1, 1
    return SampleSet(masks, torch.full((3, 4), 0.25), torch.zeros(3, 2, 4, 4))


def raters_at(network: MoSE, temperature: float) -> RaterMasks:
    """One rater an expert, as probable as the expert at a temperature of the gating."""
    temper(network.gating, temperature)
    probs = network.gating(FEATURE).detach()
    temper(network.gating, 1.0)
    return RaterMasks(expert_masks().masks[:, [0, 2]], probs)


@pytest.mark.parametrize("temperature", [0.5, 1.0, 2.0])
def test_the_temperature_of_the_gating_is_found(network: MoSE, temperature: float):
    probs = expert_probs_by_temperature(network.gating, Shown(network))
    scores = gating_scores(expert_masks(), probs, raters_at(network, temperature), COUNTED)
    assert TEMPERATURES[lowest(scores.ged.mean(dim=1))] == temperature
    assert float(network.gating.temperature.value) == 1.0


def test_scores_at_every_temperature_are_those_of_the_metrics(network: MoSE):
    samples, raters = expert_masks(), raters_at(network, 0.5)
    probs = expert_probs_by_temperature(network.gating, Shown(network))
    found = gating_scores(samples, probs, raters, COUNTED)
    for index in (0, NEUTRAL, 33):
        pair = (samples.masks, raters.masks, probs[index].repeat_interleave(2, dim=1) / 2, raters.weights)
        torch.testing.assert_close(found.ged[index], generalized_energy_distance(*pair))
        torch.testing.assert_close(found.matched_iou[index], matched_iou(*pair))


def test_samples_of_an_expert_without_any_weight_have_equal_shares():
    shares = within_experts(torch.tensor([[0.0, 0.0, 0.2, 0.8]]), 2)
    torch.testing.assert_close(shares, torch.tensor([[[0.5, 0.5], [0.2, 0.8]]]))


def observed_at(logits: Tensor, probs: Tensor, temperature: float) -> Tensor:
    """Marginal of samples (B, K, S, C, H, W) at a temperature, as if infinitely many raters were drawn from it."""
    of_experts = (logits / temperature).softmax(dim=3).mean(dim=2)
    return torch.einsum("bk,bkchw->bchw", probs, of_experts)


def filled_table(temperature: float, gating: int) -> LogitsTable:
    logits = 3.0 * torch.randn(3, 2, 2, 2, 4, 4, generator=torch.Generator().manual_seed(1))
    probs = torch.rand(len(TEMPERATURES), 3, 1, generator=torch.Generator().manual_seed(2))
    probs = torch.cat([probs, 1.0 - probs], dim=2)
    table = LogitsTable(COUNTED, 2, [gating, NEUTRAL])
    observed = observed_at(logits, probs[gating], temperature)
    table.add(ExpertSamples(logits, probs[NEUTRAL]), EVEN, probs, observed, torch.tensor([0, 1, 0]))
    return table


@pytest.mark.parametrize("temperature", [0.5, 1.0, 2.0])
def test_the_temperature_of_the_logits_is_found_at_that_of_the_gating(temperature: float):
    table = filled_table(temperature, gating=25)
    for folds in ([0], [1], [0, 1]):
        found = lowest(table.curve(folds, 25))
        assert TEMPERATURES[found] == temperature
        assert table.calibration([(fold, 25, found) for fold in folds]).compute() == pytest.approx(0.0, abs=1e-4)


def test_the_calibration_error_is_pooled_over_folds():
    table, place = filled_table(2.0, gating=25), (25, NEUTRAL)
    parts = [table.calibration([(fold, *place)]).totals for fold in (0, 1)]
    torch.testing.assert_close(table.calibration([(0, *place), (1, *place)]).totals, parts[0] + parts[1])
    assert [int(part[0]) for part in parts] == [32, 16]


def test_a_flat_curve_keeps_temperature_one():
    assert lowest(torch.ones(len(TEMPERATURES))) == NEUTRAL
    assert lowest(torch.full((len(TEMPERATURES),), torch.nan)) == NEUTRAL
