from __future__ import annotations

from pathlib import Path

import pytest
import torch

from mose_med.checkpoint import Checkpoint, ModelConfig, build_network, read_checkpoint, write_checkpoint
from mose_med.errors import ConfigError, DataError
from mose_med.networks import MoSE, expert_agreement, expert_usage, merge_experts, merged_settings
from mose_med.preprocessing import Preprocessing


@pytest.fixture
def twins(images: list[torch.Tensor]) -> MoSE:
    """Three experts of which the first two draw the same code, always; each finds about half of the image."""
    torch.manual_seed(3)
    network = MoSE(channels=(16, 20), num_experts=3, head="paper").eval()
    with torch.no_grad():
        network.priors.mean.copy_(torch.tensor([[-6.0], [-6.0], [6.0]]))
        network.priors.log_std.fill_(-30.0)
        logits = network(torch.cat(images), samples_per_expert=1).logits[:, 0]
        network.head.classify.bias[1] -= (logits[:, :, 1] - logits[:, :, 0]).median()
    return network


@pytest.fixture
def images() -> list[torch.Tensor]:
    return list(torch.randn(3, 2, 1, 8, 8, generator=torch.Generator().manual_seed(0)))


def test_usage_of_even_and_of_one_sided_gating(twins: MoSE, images: list[torch.Tensor]):
    with torch.no_grad():
        twins.gating.layers[-1].weight.zero_()
    usage = expert_usage(twins, images)
    torch.testing.assert_close(usage.mean_probs, torch.full((3,), 1 / 3))
    assert usage.effective_experts == pytest.approx(3)
    assert float(usage.top_share.sum()) == pytest.approx(1)


def test_agreement_equals_a_slow_count(twins: MoSE, images: list[torch.Tensor]):
    generator = torch.Generator().manual_seed(5)
    codes = twins.draw_latents(1, generator=torch.Generator().manual_seed(5))[0]
    masks = [twins(batch, latents=codes).logits.softmax(dim=3).mean(dim=2).argmax(dim=2) for batch in images]
    joined = torch.cat(masks).transpose(0, 1).flatten(1).bool()
    slow = [[float((a & b).sum() / (a | b).sum().clamp_min(1)) for b in joined] for a in joined]
    found = expert_agreement(twins, images, generator)
    assert found[0, 1] == 1
    assert found[0, 2] < 0.95
    torch.testing.assert_close(found.float(), torch.tensor(slow))


def test_merging_twins_keeps_the_marginal(twins: MoSE, images: list[torch.Tensor]):
    merged = merge_experts(twins, images)
    before, after = twins(images[0], samples_per_expert=1), merged(images[0], samples_per_expert=1)
    assert merged.num_experts == 2
    assert twins.num_experts == 3
    torch.testing.assert_close(after.expert_probs[:, 0], before.expert_probs[:, :2].sum(dim=1))
    marginals = [
        (s.logits.softmax(dim=3)[:, :, 0] * s.expert_probs[..., None, None, None]).sum(dim=1) for s in (before, after)
    ]
    torch.testing.assert_close(*marginals)


def test_merged_network_trains_and_samples(twins: MoSE, images: list[torch.Tensor]):
    merged = merge_experts(twins, images)
    assert merged.sample(images[0], 3).logits.shape[1] == 3
    samples = merged(images[0])
    (samples.logits.mean() + samples.expert_probs.square().sum()).backward()
    assert [name for name, value in merged.named_parameters() if value.grad is None] == []


def test_bad_threshold_is_named(twins: MoSE, images: list[torch.Tensor]):
    with pytest.raises(ConfigError, match=r"min_iou must be in \(0, 1\], got 0"):
        merge_experts(twins, images, min_iou=0)


@pytest.mark.parametrize("function", [expert_usage, expert_agreement, merge_experts])
def test_no_image_is_named(function: object, twins: MoSE):
    with pytest.raises(DataError, match="images must hold at least one batch, got none"):
        function(twins, [])


def test_deterministic_experts_of_uniform_weights_can_be_merged(images: list[torch.Tensor]):
    torch.manual_seed(0)
    network = MoSE(channels=(16, 20), num_experts=3, gating="uniform", experts="deterministic").eval()
    with torch.no_grad():
        network.priors.mean.fill_(0.5)
    merged = merge_experts(network, images)
    assert merged.priors.mean.shape == (1, 1)
    torch.testing.assert_close(merged(images[0]).expert_probs, torch.ones(2, 1))


def test_a_merged_network_is_built_again_from_its_checkpoint(twins: MoSE, images: list[torch.Tensor], tmp_path: Path):
    merged = merge_experts(twins, images)
    settings = merged_settings({"channels": (16, 20), "head": "paper"}, merged)
    config = ModelConfig(settings, Preprocessing(roi_size=(8, 8)), ("background", "nodule"), num_raters=4)
    write_checkpoint(tmp_path / "merged.pt", Checkpoint(merged.state_dict(), config))
    again = build_network(read_checkpoint(tmp_path / "merged.pt"))
    codes = torch.zeros(2, 1, 1)
    for mine, theirs in zip(again(images[0], latents=codes), merged(images[0], latents=codes), strict=True):
        torch.testing.assert_close(mine, theirs)


def test_merging_twice_sums_the_gating_of_all_members(images: list[torch.Tensor]):
    torch.manual_seed(0)
    network = MoSE(channels=(16, 20), num_experts=3, head="paper").eval()
    with torch.no_grad():
        network.priors.mean.copy_(torch.tensor([[-6.0], [-6.0], [6.0]]))
        network.priors.log_std.fill_(-30.0)
    once = merge_experts(network, images)
    with torch.no_grad():
        once.priors.mean.fill_(-6.0)
    twice = merge_experts(once, images)
    assert merged_settings({}, twice) == {"num_experts": 1, "expert_groups": [0, 0, 0]}
    torch.testing.assert_close(twice(images[0]).expert_probs, torch.ones(2, 1))


def test_groups_that_skip_an_expert_are_named():
    with pytest.raises(ConfigError, match=r"expert_groups must name each of the 2 experts from 0, got \(0, 2, 0\)"):
        MoSE(channels=(4, 8), num_experts=2, expert_groups=(0, 2, 0))
