"""What every baseline of this folder keeps: shapes, sizes, purity, gradients, arguments that a checkpoint can hold."""

from __future__ import annotations

import json
from typing import Any

import pytest
import torch

from mose_med.errors import ConfigError, ShapeError
from mose_med.losses import PairwiseLoss
from mose_med.networks import memory
from mose_med.networks.protocol import draw_fields, samples_of, standard_deviates
from mose_med.networks.registry import build, registered_name
from tests.mose_med.baselines.toy import seeded, two_raters

UNET = {"name": "deterministic_unet", "channels": [4, 6, 8]}
NETWORKS: dict[str, dict[str, Any]] = {
    "deterministic_unet": UNET,
    "mc_dropout": {"name": "mc_dropout", "channels": [4, 6, 8]},
    "stochastic_segmentation_network": {"name": "stochastic_segmentation_network", "channels": [4, 6, 8], "rank": 3},
    "calibrated_adversarial_refinement": {
        "name": "calibrated_adversarial_refinement",
        "channels": [4, 6, 8],
        "refinement_channels": 4,
        "discriminator_channels": 4,
        "image_size": [32, 32],
    },
    "ensemble": {"name": "ensemble", "members": [UNET, UNET]},
    "test_time_augmentation": {"name": "test_time_augmentation", "member": UNET},
}
#: Counted in the published code; in the deterministic U-Net of PHiSeg's repository.
PUBLISHED = {
    "deterministic_unet": 10_319_842,
    "mc_dropout": 10_319_842,
    "stochastic_segmentation_network": 10_320_568,
}
#: At the channels of the bundle lidc_small.
SMALL = {
    "deterministic_unet": 1_419_506,
    "mc_dropout": 1_419_506,
    "stochastic_segmentation_network": 1_419_880,
}


def small_network(name: str, **settings: Any) -> Any:
    torch.manual_seed(0)
    return build(NETWORKS[name] | settings).eval()


def in_3d(name: str) -> dict[str, Any]:
    settings = NETWORKS[name] | {"spatial_dims": 3}
    if "members" in settings or "member" in settings:
        settings.pop("spatial_dims")
        inner = UNET | {"spatial_dims": 3}
        return settings | ({"members": [inner, inner]} if "members" in settings else {"member": inner})
    return settings | ({"image_size": [32, 32, 32]} if "image_size" in settings else {})


def count(network: torch.nn.Module) -> int:
    return sum(parameter.numel() for parameter in network.parameters())


@pytest.mark.parametrize("name", sorted(PUBLISHED))
def test_parameters_are_as_many_as_in_the_published_network(name: str):
    assert count(build({"name": name})) == PUBLISHED[name]
    assert count(build({"name": name, "channels": [16, 32, 64, 96, 96]})) == SMALL[name]


@pytest.mark.parametrize("name", sorted(NETWORKS))
@pytest.mark.parametrize("spatial", [(9, 14), (64, 64)])
def test_any_sides_are_segmented(name: str, spatial: tuple[int, ...]):
    network = small_network(name)
    samples = network(torch.randn(2, 1, *spatial), samples_per_expert=3, generator=seeded())
    assert samples.logits.shape == (2, network.num_experts, 3, 2, *spatial)
    torch.testing.assert_close(samples.expert_probs.sum(dim=1), torch.ones(2))


@pytest.mark.parametrize("name", ["mc_dropout", "calibrated_adversarial_refinement"])
def test_samples_are_decoded_in_pieces_but_in_training_together(name: str, monkeypatch: pytest.MonkeyPatch):
    network, image = small_network(name), torch.randn(2, 1, 32, 32, generator=seeded())
    deviates = torch.randn(1, 5, network.noise_dim, generator=seeded())
    whole = network.samples_from(image, deviates).logits
    monkeypatch.setitem(memory._VOXELS_AT_ONCE, "cpu", 2 * 2 * 32 * 32)
    assert network.sample_spans(image, 5) == [slice(0, 2), slice(2, 4), slice(4, 5)]
    torch.testing.assert_close(network.samples_from(image, deviates).logits, whole)
    assert network.train().sample_spans(image, 5) == [slice(0, 5)]


@pytest.mark.parametrize("name", sorted(NETWORKS))
def test_volumes_are_segmented(name: str):
    network = build(in_3d(name)).eval()
    samples = network(torch.randn(1, 1, 9, 6, 5), samples_per_expert=2)
    assert samples.logits.shape == (1, network.num_experts, 2, 2, 9, 6, 5)


@pytest.mark.parametrize("name", sorted(NETWORKS))
def test_same_numbers_give_the_same_samples(name: str):
    network, image = small_network(name), torch.randn(2, 1, 16, 16)
    deviates = standard_deviates(network, 3, generator=seeded())[0]
    fields = draw_fields(network, image, 3, seeded())
    first, again = (samples_of(network, image, deviates, fields) for _ in range(2))
    each = samples_of(network, image, deviates.expand(2, *deviates.shape), fields)
    torch.testing.assert_close(first, again, rtol=0, atol=0)
    torch.testing.assert_close(first, each)


@pytest.mark.parametrize("name", ["mc_dropout", "stochastic_segmentation_network", "calibrated_adversarial_refinement"])
def test_a_sample_follows_from_its_own_numbers(name: str):
    network, image = small_network(name), torch.randn(1, 1, 16, 16)
    deviates = standard_deviates(network, 3, generator=seeded())[0]
    logits = network.samples_from(image, deviates).logits
    turned = network.samples_from(image, deviates.flip(1)).logits
    torch.testing.assert_close(turned, logits.flip(2))
    assert not torch.allclose(logits[:, :, 0], logits[:, :, 1])


@pytest.mark.parametrize("name", sorted(NETWORKS))
def test_a_seed_decides_the_draw(name: str):
    network, image = small_network(name), torch.randn(1, 1, 16, 16)
    torch.testing.assert_close(network(image, generator=seeded(1)), network(image, generator=seeded(1)))


@pytest.mark.parametrize("name", ["deterministic_unet", "mc_dropout", "ensemble", "test_time_augmentation"])
def test_every_parameter_learns_from_the_cross_entropy(name: str):
    network = small_network(name).train()
    image, raters = two_raters(2, 16)
    PairwiseLoss(cost="ce")(network(image, target=raters), raters).backward()
    assert [key for key, value in network.named_parameters() if value.grad is None] == []


@pytest.mark.parametrize("name", sorted(NETWORKS))
def test_settings_are_plain_and_the_class_has_its_name(name: str):
    assert registered_name(build(json.loads(json.dumps(NETWORKS[name])))) == name


@pytest.mark.parametrize("name", sorted(NETWORKS))
def test_channels_last_changes_nothing(name: str):
    network, image = small_network(name), torch.randn(2, 1, 16, 16)
    plain = network(image, generator=seeded())
    last = network.to(memory_format=torch.channels_last)(
        image.to(memory_format=torch.channels_last), generator=seeded()
    )
    torch.testing.assert_close(last, plain, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", sorted(NETWORKS))
def test_a_wrong_image_is_named(name: str):
    with pytest.raises(ShapeError, match=r"image must be B x 1 x H x W, got shape \(1, 2, 8, 8\)"):
        small_network(name)(torch.zeros(1, 2, 8, 8))


@pytest.mark.parametrize(
    ("name", "settings", "message"),
    [
        ("deterministic_unet", {"spatial_dims": 4}, "spatial_dims must be 2 or 3, got 4"),
        ("deterministic_unet", {"out_channels": 1}, "out_channels must be >= 2 .*, got 1"),
        ("deterministic_unet", {"channels": [8]}, r"channels must name at least 2 levels, got \(8,\)"),
        ("deterministic_unet", {"samples_per_expert": 0}, "samples_per_expert must be >= 1, got 0"),
        ("mc_dropout", {"dropout": 1.0}, r"dropout must be in \(0, 1\), got 1.0"),
        ("stochastic_segmentation_network", {"rank": 0}, "rank must be >= 1, got 0"),
        ("calibrated_adversarial_refinement", {"latent_dim": 0}, "latent_dim must be >= 1, got 0"),
        ("calibrated_adversarial_refinement", {"image_size": [32]}, r"image_size must be 2 sides of at least 32, got"),
        ("ensemble", {"members": []}, "members must name at least one network, got none"),
    ],
)
def test_a_wrong_setting_is_named(name: str, settings: dict[str, Any], message: str):
    with pytest.raises(ConfigError, match=message):
        small_network(name, **settings)


def test_no_samples_are_refused():
    with pytest.raises(ConfigError, match="samples_per_expert must be >= 1, got 0"):
        small_network("mc_dropout")(torch.zeros(1, 1, 8, 8), samples_per_expert=0)
