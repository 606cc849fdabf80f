"""Where the gating looks and where the noise enters."""

from __future__ import annotations

import pytest
import torch

from mose_med.networks import MoSE

CHANNELS = (16, 18, 20, 22)


def network(**settings: object) -> MoSE:
    torch.manual_seed(0)
    return MoSE(channels=CHANNELS, num_experts=2, **settings).eval()


@pytest.mark.parametrize("head", ["release", "paper"])
@pytest.mark.parametrize("noise_level", [0, 1, -2])
def test_early_noise_changes_samples(head: str, noise_level: int):
    image = torch.randn(2, 1, 11, 8)
    samples = network(head=head, noise_level=noise_level)(image, samples_per_expert=3)
    assert samples.logits.shape == (2, 2, 3, 2, 11, 8)
    assert (samples.logits[:, :, 0] - samples.logits[:, :, 1]).abs().max() > 1e-4


def test_early_noise_equals_the_decoder_run_once_a_sample():
    early = network(head="paper", noise_level=1)
    image, codes = torch.randn(1, 1, 8, 8), torch.randn(2, 2, 1)
    found = early(image, latents=codes).logits
    features = early.backbone(image)
    for expert in range(2):
        for sample in range(2):
            injected = early.noise.inject(features.dense_feature, codes[expert, sample].view(1, 1, 1))
            x = early.backbone.finish(injected, features.skips).flatten(2).transpose(1, 2)
            x = torch.relu(early.head.first.linear(x))
            x = early.head.classify(torch.relu(early.head.rest[0].linear(x)))
            expected = x.transpose(1, 2).view(2, 8, 8)
            torch.testing.assert_close(found[0, expert, sample], expected, rtol=1e-4, atol=1e-5)


def test_last_level_by_its_number_is_the_default():
    image, codes = torch.randn(1, 1, 8, 8), torch.randn(2, 2, 1)
    by_number = network(noise_level=2, gating_level=3)
    torch.testing.assert_close(by_number(image, latents=codes), network()(image, latents=codes))


@pytest.mark.parametrize(("gating_level", "width"), [(0, 16), (1, 18), (-1, 22), (-2, 20)])
def test_gating_level_sets_what_the_gating_sees(gating_level: int, width: int):
    with_level = network(gating_level=gating_level)
    assert with_level.gating.layers[0].in_features == width
    assert with_level(torch.randn(2, 1, 8, 8)).expert_probs.shape == (2, 2)


def test_every_parameter_gets_a_gradient_with_early_noise():
    early = network(noise_level=0, gating_level=1).train()
    samples = early(torch.randn(2, 1, 16, 8))
    (samples.logits.square().mean() + samples.expert_probs.square().sum()).backward()
    assert [name for name, value in early.named_parameters() if value.grad is None] == []
