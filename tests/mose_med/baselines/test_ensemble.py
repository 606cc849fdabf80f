from __future__ import annotations

from typing import Any

import pytest
import torch

from mose_med.baselines.ensemble import Ensemble
from mose_med.errors import ConfigError
from mose_med.networks import registry
from mose_med.networks.protocol import draw_fields, standard_deviates
from tests.mose_med.baselines.toy import seeded, shares_of_modes, two_raters

UNET = {"name": "deterministic_unet", "channels": [4, 6]}
MOSE = {"channels": [4, 6], "num_experts": 3, "latent_dim": 2, "head": "paper"}
SSN = {"name": "stochastic_segmentation_network", "channels": [4, 6], "rank": 4}


def small_ensemble(*members: dict[str, Any], **settings: Any) -> Ensemble:
    torch.manual_seed(0)
    return Ensemble(members, **settings).eval()


def test_every_member_is_an_expert_of_the_same_probability():
    network, image = small_ensemble(UNET, UNET, UNET), torch.randn(2, 1, 8, 8)
    samples = network(image)
    torch.testing.assert_close(samples.expert_probs, torch.full((2, 3), 1 / 3))
    for index, member in enumerate(network.members):
        torch.testing.assert_close(samples.logits[:, index], member(image).logits[:, 0])


def test_members_of_any_kind_get_their_own_numbers():
    network, image = small_ensemble(MOSE, SSN, SSN, UNET), torch.randn(2, 1, 8, 8)
    deviates = standard_deviates(network, 2, batch=2, generator=seeded())
    fields = draw_fields(network, image, 2, seeded())
    samples = network.samples_from(image, deviates, fields)
    expected = network.members[2].samples_from(image, deviates[:, 4:5], [fields[0][:, 4:5]])
    assert (network.num_experts, network.noise_dim, len(network.noise_fields)) == (6, 4, 1)
    torch.testing.assert_close(samples.logits[:, 4:5], expected.logits)
    torch.testing.assert_close(samples.expert_probs[:, 3:], torch.full((2, 3), 0.25))
    torch.testing.assert_close(
        samples.expert_probs[:, :3], network.members[0].samples_from(image, deviates[:, :3, :, :2]).expert_probs / 4
    )


def test_without_fields_members_do_without():
    network, image = small_ensemble(SSN, UNET), torch.randn(1, 1, 8, 8)
    deviates = torch.zeros(2, 1, network.noise_dim)
    mean = network.members[0].distribution(image).mean
    torch.testing.assert_close(network.samples_from(image, deviates).logits[:, 0, 0], mean)


def test_members_that_each_know_one_mode_show_both():
    network = small_ensemble(UNET, UNET)
    for member, background in zip(network.members, (-9.0, 9.0), strict=True):
        torch.nn.init.zeros_(member.classify.weight)
        member.classify.bias.data = torch.tensor([background, 0.0])
    assert shares_of_modes(network(two_raters(2, 8)[0])) == pytest.approx((0.5, 0.5))


def test_a_member_that_does_not_say_its_classes_is_refused(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(registry, "_registered", dict(registry._registered))
    registry.register("of_unknown_classes")(torch.nn.Identity)
    with pytest.raises(ConfigError, match="a member must have the attribute out_channels, Identity has none"):
        small_ensemble({"name": "of_unknown_classes"})


def test_members_of_other_classes_are_refused():
    with pytest.raises(ConfigError, match="members must have the same out_channels, got 2 and 3"):
        small_ensemble(UNET, UNET | {"out_channels": 3})
