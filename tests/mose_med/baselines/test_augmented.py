from __future__ import annotations

from typing import Any

import pytest
import torch

from mose_med.baselines.augmented import AugmentedNetwork
from mose_med.errors import ConfigError

UNET = {"name": "deterministic_unet", "channels": [4, 6]}


def small_network(member: dict[str, Any] = UNET) -> AugmentedNetwork:
    torch.manual_seed(0)
    return AugmentedNetwork(member).eval()


@pytest.mark.parametrize("spatial", [(6, 8), (6, 8, 4)])
def test_eight_different_answers_have_the_same_probability(spatial: tuple[int, ...]):
    network, image = small_network(UNET | {"spatial_dims": len(spatial)}), torch.randn(1, 1, *spatial)
    samples = network(image, samples_per_expert=2)
    assert samples.logits.shape == (1, 8, 2, 2, *spatial)
    assert torch.pdist(samples.logits[0, :, 0].flatten(1)).min() > 1e-3
    torch.testing.assert_close(samples.expert_probs, torch.full((1, 8), 0.125))
    torch.testing.assert_close(samples.logits[:, 0], network.member(image, samples_per_expert=2).logits[:, 0])


def test_a_network_that_looks_at_one_voxel_answers_the_same_to_all():
    network = small_network()
    network.member.trunk = torch.nn.Identity()
    network.member.classify = torch.nn.Conv2d(1, 2, kernel_size=1)
    logits = network(torch.randn(1, 1, 6, 9)).logits
    torch.testing.assert_close(logits, logits[:, :1].expand_as(logits))


def test_the_mean_turns_with_the_image():
    network, image = small_network(), torch.randn(1, 1, 8, 8)
    mean, turned = (network(x).logits.mean(dim=1)[:, 0] for x in (image, image.rot90(1, (2, 3)).flip(2)))
    torch.testing.assert_close(turned, mean.rot90(1, (2, 3)).flip(2), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("member", [{"name": "mc_dropout", "channels": [4, 6]}, {"num_experts": 2}])
def test_a_network_that_draws_is_refused(member: dict[str, Any]):
    name = member.get("name", "mose")
    with pytest.raises(ConfigError, match=f"member must be deterministic, '{name}' is not"):
        small_network(member)
