"""Temperatures of gating and logits: 1 changes nothing, another one divides, in every way through the network."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from mose_med.networks import MarginalMoSE, MoSE
from mose_med.networks.mose.gating import Gating, GroupedGating
from mose_med.networks.temperature import Temperature, temper

SETTINGS: dict[str, Any] = {"channels": (4, 8), "num_experts": 3, "samples_per_expert": 2}
IMAGE = torch.linspace(-1, 1, 2 * 81).sin().view(2, 1, 9, 9)
CODES = torch.linspace(0, 1, 6).view(3, 2, 1)


def seeded(kind: type[MoSE] = MoSE, **changes: Any) -> MoSE:
    torch.manual_seed(0)
    return kind(**(SETTINGS | changes)).eval()


@torch.no_grad()
def logits_of(network: MoSE) -> Tensor:
    return network(IMAGE, latents=CODES).logits


@pytest.mark.parametrize("head", ["release", "paper"])
def test_logits_are_divided(head: str):
    network = seeded(head=head)
    before = logits_of(network)
    temper(network.head, 2.5)
    torch.testing.assert_close(logits_of(network), before / 2.5)


@pytest.mark.parametrize("way", ["fast_logits", "plain_logits"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_one_is_exact_in_every_way_through_the_head(way: str, dtype: torch.dtype):
    head, plain = (copy.deepcopy(seeded()).to(dtype) for _ in range(2))
    plain.head.temperature = nn.Identity()  # type: ignore[assignment]
    dense = IMAGE.to(dtype).flatten(2).expand(2, 4, 81)
    for network in (head, plain):
        network.maps = network.noise(CODES.flatten(0, 1).to(dtype).expand(2, 6, 1), *network.head.first_map())
    found, expected = (getattr(network.head, way)(dense, network.maps) for network in (head, plain))
    assert torch.equal(found, expected)


def test_both_ways_through_the_head_agree():
    network = seeded()
    temper(network.head, 0.4)
    found = logits_of(network)
    network.head.has_fast_way = lambda: False  # type: ignore[method-assign]
    torch.testing.assert_close(logits_of(network), found)


def test_the_gating_is_flattened_before_the_softmax():
    gating, feature = Gating(4, 3), torch.randn(2, 4)
    before = gating(feature)
    temper(gating, 2.0)
    torch.testing.assert_close(gating(feature), before.sqrt() / before.sqrt().sum(dim=1, keepdim=True))


def test_groups_of_experts_are_tempered_one_expert_at_a_time():
    gating = Gating(4, 3)
    grouped, feature = GroupedGating(gating, torch.tensor([0, 0, 1])), torch.randn(2, 4)
    temper(grouped, 2.0)
    assert torch.equal(grouped(feature)[:, 1], gating(feature)[:, 2])
    assert float(gating.temperature.value) == 2.0


def test_probabilities_of_groups_sum_to_one_in_short_types():
    grouped = GroupedGating(Gating(4, 3), torch.tensor([0, 0, 1]))
    with torch.autocast("cpu", dtype=torch.bfloat16):
        probs = grouped(torch.randn(20, 4))
    assert probs.dtype == torch.float32
    torch.testing.assert_close(probs.sum(dim=1), torch.ones(20), rtol=0, atol=1e-6)


def test_a_network_without_a_learned_gating_has_nothing_to_temper_there():
    network = seeded(gating="uniform")
    temper(network.gating, 2.0)
    assert network(IMAGE).expert_probs.eq(1 / 3).all()


def test_weights_without_temperatures_bring_them_back_to_one():
    network = seeded()
    old = network.state_dict()
    assert not [name for name in old if "temperature" in name]
    temper(network, 3.0)
    network.load_state_dict(old, strict=True)
    assert [float(part.value) for part in network.modules() if isinstance(part, Temperature)] == [1.0, 1.0]


def test_other_temperatures_travel_with_the_weights():
    network, other = seeded(), seeded()
    temper(network.gating, 3.0)
    temper(network.head, 0.5)
    other.load_state_dict(copy.deepcopy(network.state_dict()), strict=True)
    assert (float(other.gating.temperature.value), float(other.head.temperature.value)) == (3.0, 0.5)
    assert torch.equal(logits_of(other), logits_of(network))


def test_the_caller_s_weights_are_left_as_they_are():
    state = dict(seeded().state_dict())
    names = set(state)
    seeded().load_state_dict(state)
    assert set(state) == names


def test_scripts_carry_the_temperatures():
    network = seeded(MarginalMoSE)
    temper(network.gating, 2.0)
    temper(network.head, 0.3)
    torch.testing.assert_close(torch.jit.script(network)(IMAGE), network(IMAGE), rtol=1e-4, atol=1e-5)


def test_training_leaves_the_temperature_alone():
    network = seeded().train()
    temper(network.head, 2.0)
    network(IMAGE).logits.square().sum().backward()
    assert not [name for name, _ in network.named_parameters() if "temperature" in name]
    assert network.head.classify.weight.grad.abs().sum() > 0
