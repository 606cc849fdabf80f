from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from mose_med.errors import ConfigError, ShapeError
from mose_med.networks import ExpertSamples, MoSE, WeightedSamples

SMALL = {"channels": (16, 20, 24), "num_experts": 3, "samples_per_expert": 2}


def small_network(**settings: object) -> MoSE:
    torch.manual_seed(0)
    return MoSE(**{**SMALL, **settings}).eval()


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def test_parameter_counts_are_those_of_the_release():
    lidc = MoSE()
    cityscapes = MoSE(num_experts=35, latent_dim=5, in_channels=4, out_channels=25)
    assert sum(p.numel() for p in lidc.parameters()) == 9_321_195
    assert sum(p.numel() for p in cityscapes.parameters()) == 9_329_628


@pytest.mark.parametrize("head", ["release", "paper"])
@pytest.mark.parametrize("spatial", [(8, 8), (8, 8, 4)])
def test_compact_form_has_the_shapes_of_the_contract(head: str, spatial: tuple[int, ...]):
    network = small_network(head=head, spatial_dims=len(spatial), out_channels=5, in_channels=2, latent_dim=3)
    samples = network(torch.randn(2, 2, *spatial))
    assert isinstance(samples, ExpertSamples)
    assert samples.logits.shape == (2, 3, 2, 5, *spatial)
    torch.testing.assert_close(samples.expert_probs.sum(dim=1), torch.ones(2))


def test_standard_form_has_equal_weights():
    samples = small_network().sample(torch.randn(2, 1, 8, 8), num_samples=5, generator=seeded())
    assert isinstance(samples, WeightedSamples)
    assert samples.logits.shape == (2, 5, 2, 8, 8)
    torch.testing.assert_close(samples.weights, torch.full((2, 5), 0.2))


def test_standard_form_draws_experts_by_their_probability():
    network, probs = small_network(head="paper"), torch.tensor([[0.7, 0.2, 0.1]])
    network.gating.forward = lambda feature: probs.expand(len(feature), -1)
    with torch.no_grad():
        network.priors.mean.copy_(torch.tensor([[-9.0], [0.0], [9.0]]))
        network.priors.log_std.fill_(-20.0)
        image = torch.randn(1, 1, 4, 4)
        standard = network.sample(image, 300, seeded()).logits[0]
        per_expert = network(image, samples_per_expert=1).logits[0, :, 0]
    nearest = torch.cdist(standard.flatten(1), per_expert.flatten(1)).argmin(dim=1)
    assert torch.pdist(per_expert.flatten(1)).min() > 0.1
    torch.testing.assert_close(nearest.bincount(minlength=3) / 300, probs[0], rtol=0, atol=0.06)


@pytest.mark.parametrize("head", ["release", "paper"])
def test_every_parameter_gets_a_gradient(head: str):
    network = small_network(head=head).train()
    samples = network(torch.randn(2, 1, 8, 8))
    (samples.logits.square().mean() + samples.expert_probs.square().sum()).backward()
    assert [name for name, value in network.named_parameters() if value.grad is None] == []


def test_uniform_gating_gives_every_expert_the_same_probability_without_gradient():
    network = small_network(gating="uniform").train()
    samples = network(torch.randn(2, 1, 8, 8))
    torch.testing.assert_close(samples.expert_probs, torch.full((2, 3), 1 / 3))
    assert not samples.expert_probs.requires_grad
    assert [name for name in network.state_dict() if name.startswith("gating.")] == []


def test_deterministic_experts_draw_the_mean_of_their_prior():
    network, image = small_network(experts="deterministic", latent_dim=2), torch.randn(2, 1, 8, 8)
    assert network.draw_latents(2, 3).equal(network.priors.mean[None, :, None].expand(2, 3, 3, 2))
    torch.testing.assert_close(network(image), network(image, latents=network.priors.mean[:, None].expand(3, 2, 2)))
    assert "priors.log_std" not in network.state_dict()


@pytest.mark.parametrize("settings_", [{"gating": "uniform"}, {"experts": "deterministic"}])
def test_an_ablation_leaves_no_parameter_without_gradient(settings_: dict[str, object]):
    network = small_network(**settings_).train()
    network(torch.randn(2, 1, 8, 8)).weighted().logits.square().mean().backward()
    without = {name for name, value in network.named_parameters() if value.grad is None}
    assert without == (
        set() if "gating" in settings_ else {f"gating.{n}" for n, _ in network.gating.named_parameters()}
    )


def test_the_default_network_names_its_weights_as_ever():
    ablated = set(small_network(gating="uniform", experts="deterministic").state_dict())
    extra = {"priors.log_std", *(f"gating.{name}" for name in small_network().gating.state_dict())}
    assert set(small_network().state_dict()) == ablated | extra
    assert set(small_network(gating="learned", experts="stochastic").state_dict()) == ablated | extra


def test_same_seed_gives_the_same_samples():
    network, image = small_network(), torch.randn(1, 1, 8, 8)
    torch.testing.assert_close(network(image, generator=seeded(3)), network(image, generator=seeded(3)))
    assert not torch.equal(network(image, generator=seeded(3)).logits, network(image, generator=seeded(4)).logits)


def test_given_latents_replace_the_draw():
    network, image = small_network(latent_dim=2), torch.randn(2, 1, 8, 8)
    codes = torch.randn(3, 4, 2, generator=seeded())
    shared = network(image, latents=codes)
    each = network(image, latents=codes.expand(2, 3, 4, 2))
    assert shared.logits.shape[2] == 4
    torch.testing.assert_close(shared, each)


def test_image_alone_decides_what_others_in_the_batch_do_not_change():
    network, images = small_network(), torch.randn(3, 1, 8, 8)
    codes = torch.randn(3, 2, 1, generator=seeded())
    together, alone = network(images, latents=codes), network(images[1:2], latents=codes)
    torch.testing.assert_close(together.logits[1:2], alone.logits, rtol=1e-4, atol=1e-5)


@settings(deadline=None, max_examples=10)
@given(height=st.integers(1, 19), width=st.integers(1, 19))
def test_any_side_is_padded_and_cropped_back(height: int, width: int):
    with torch.no_grad():
        samples = small_network()(torch.randn(1, 1, height, width))
    assert samples.logits.shape[-2:] == (height, width)
    assert samples.logits.isfinite().all()


def test_padding_repeats_the_last_voxels():
    network, codes = small_network(), torch.randn(3, 2, 1, generator=seeded())
    image = torch.randn(1, 1, 6, 8)
    by_hand = torch.cat([image, image[:, :, -1:], image[:, :, -1:]], dim=2)
    expected = network(by_hand, latents=codes).logits[..., :6, :]
    torch.testing.assert_close(network(image, latents=codes).logits, expected, rtol=1e-4, atol=1e-5)


def test_channels_last_changes_nothing():
    network, codes = small_network(), torch.randn(3, 2, 1, generator=seeded())
    image = torch.randn(2, 1, 8, 8)
    plain = network(image, latents=codes)
    last = network.to(memory_format=torch.channels_last)(image.to(memory_format=torch.channels_last), latents=codes)
    torch.testing.assert_close(last, plain, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("head", ["release", "paper"])
def test_runs_under_autocast(head: str):
    network = small_network(head=head).train()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        samples = network(torch.randn(2, 1, 8, 8))
    samples.logits.float().square().mean().backward()
    assert samples.expert_probs.dtype == torch.float32
    assert samples.logits.isfinite().all()


@pytest.mark.parametrize(
    ("settings_", "message"),
    [
        ({"spatial_dims": 1}, "spatial_dims must be 2 or 3, got 1"),
        ({"num_experts": 0}, "num_experts must be >= 1, got 0"),
        ({"latent_dim": 0}, "latent_dim must be >= 1, got 0"),
        ({"in_channels": 0}, "in_channels must be >= 1, got 0"),
        ({"samples_per_expert": 0}, "samples_per_expert must be >= 1, got 0"),
        ({"out_channels": 1}, "out_channels must be >= 2 .*, got 1"),
        ({"channels": (8,)}, r"channels must name at least 2 levels, got \(8,\)"),
        ({"channels": (8, 0)}, r"channels must be >= 1 on every level, got \(8, 0\)"),
        ({"head": "none"}, "head must be 'release' or 'paper', got 'none'"),
        ({"gating": "none"}, "gating must be 'learned' or 'uniform', got 'none'"),
        ({"experts": "odd"}, "experts must be 'stochastic' or 'deterministic', got 'odd'"),
        ({"backbone": "vgg"}, "backbone must be .*, got 'vgg'"),
        ({"gating_level": 9}, "gating_level must be .*, got 9"),
        ({"noise_level": 9}, "noise_level must be .*, got 9"),
    ],
)
def test_bad_setting_is_named(settings_: dict[str, object], message: str):
    with pytest.raises(ConfigError, match=message):
        MoSE(**{**SMALL, **settings_})


@pytest.mark.parametrize(
    ("shape", "message"),
    [
        ((1, 2, 8, 8), r"image must be B x 1 x H x W, got shape \(1, 2, 8, 8\)"),
        ((1, 1, 8), r"image must be B x 1 x H x W, got shape \(1, 1, 8\)"),
        ((1, 1, 0, 8), r"image must be B x 1 x H x W, got shape \(1, 1, 0, 8\)"),
    ],
)
def test_bad_image_is_named(shape: tuple[int, ...], message: str):
    with pytest.raises(ShapeError, match=message):
        small_network()(torch.zeros(shape))


def test_integer_image_is_named():
    with pytest.raises(ShapeError, match=r"image must be floating point, got torch\.int64"):
        small_network()(torch.zeros(1, 1, 8, 8, dtype=torch.int64))


@pytest.mark.parametrize("shape", [(3, 2), (2, 2, 1), (3, 2, 2), (3, 0, 1), (5, 3, 2, 1), (1,)])
def test_bad_latents_are_named(shape: tuple[int, ...]):
    with pytest.raises(
        ShapeError, match="latents must be K x S x L or B x K x S x L with B=1, K=3, S >= 1, L=1, got shape"
    ):
        small_network()(torch.zeros(1, 1, 8, 8), latents=torch.zeros(shape))


def test_sample_count_must_match_the_latents():
    with pytest.raises(ShapeError, match="latents hold 2 samples per expert, but samples_per_expert is 3"):
        small_network()(torch.zeros(1, 1, 8, 8), samples_per_expert=3, latents=torch.zeros(3, 2, 1))


def test_bad_sample_count_is_named():
    network, image = small_network(), torch.zeros(1, 1, 8, 8)
    with pytest.raises(ConfigError, match="samples_per_expert must be >= 1, got 0"):
        network(image, samples_per_expert=0)
    with pytest.raises(ConfigError, match="num_samples must be >= 1, got 0"):
        network.sample(image, num_samples=0)
