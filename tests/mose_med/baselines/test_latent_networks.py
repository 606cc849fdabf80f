"""What all latent-variable networks have in common."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from mose_med.baselines.geco import GecoLoss
from mose_med.baselines.hu_variability import HuVariabilityLoss
from mose_med.baselines.parts.evidence import EvidenceLowerBoundLoss
from mose_med.baselines.phiseg import PHiSegLoss
from mose_med.errors import ConfigError, ShapeError
from mose_med.networks import memory
from mose_med.networks.protocol import draw_fields, standard_deviates
from mose_med.networks.registry import build, registered_name
from mose_med.networks.temperature import temper
from mose_med.samples import RaterMasks

LOSSES: dict[str, Any] = {
    "probabilistic_unet": EvidenceLowerBoundLoss,
    "hierarchical_probabilistic_unet": GecoLoss,
    "phiseg": PHiSegLoss,
    "hu_variability": HuVariabilityLoss,
}
NAMES = sorted(LOSSES)
SMALL_BUNDLE = (16, 32, 64, 96, 96)


def network_of(name: str, **settings: Any) -> Any:
    torch.manual_seed(0)
    return build({"name": name, "channels": [4, 8, 8], **settings})


def noise_of(network: Any, image: Tensor, samples: int) -> tuple[Tensor, tuple[Tensor, ...]]:
    generator = torch.Generator().manual_seed(1)
    return standard_deviates(network, samples, len(image), generator), draw_fields(network, image, samples, generator)


def raters_of(image: Tensor) -> RaterMasks:
    masks = torch.randint(0, 2, (len(image), 3, *image.shape[2:]), generator=torch.Generator().manual_seed(2))
    return RaterMasks(masks, torch.tensor([[0.5, 0.5, 0.0]]).expand(len(image), -1))


@pytest.mark.parametrize("spatial", [(9, 6), (8, 8), (5, 9, 6)])
@pytest.mark.parametrize("name", NAMES)
def test_samples_have_the_image_s_sides(name: str, spatial: tuple[int, ...]):
    network = network_of(name, spatial_dims=len(spatial), out_channels=3).eval()
    samples = network(torch.randn(2, 1, *spatial), samples_per_expert=5)
    assert samples.logits.shape == (2, 1, 5, 3, *spatial)
    torch.testing.assert_close(samples.expert_probs, torch.ones(2, 1))


@pytest.mark.parametrize("name", NAMES)
def test_the_same_noise_gives_the_same_samples(name: str):
    network, image = network_of(name).eval(), torch.randn(2, 1, 8, 12)
    noise = noise_of(network, image, 3)
    first, second = (network.samples_from(image, *noise).logits for _ in range(2))
    torch.testing.assert_close(first, second, rtol=0, atol=0)
    assert (first[:, :, 0] - first[:, :, 1]).abs().max() > 0


@pytest.mark.parametrize("name", NAMES)
def test_a_sample_does_not_depend_on_the_others(name: str):
    network, image = network_of(name).eval(), torch.randn(2, 1, 8, 8)
    deviates, fields = noise_of(network, image, 4)
    together = network.samples_from(image, deviates, fields).logits
    alone = network.samples_from(image[1:], deviates[1:, :, 2:3], [field[1:, :, 2:3] for field in fields]).logits
    torch.testing.assert_close(alone, together[1:, :, 2:3])


@pytest.mark.parametrize("name", NAMES)
def test_samples_are_decoded_in_pieces(name: str, monkeypatch: pytest.MonkeyPatch):
    network, image = network_of(name).eval(), torch.randn(2, 1, 8, 8)
    noise, decode, decoded = noise_of(network, image, 5), network.decode, []
    whole = network.samples_from(image, *noise).logits
    monkeypatch.setitem(memory._VOXELS_AT_ONCE, "cpu", 2 * 2 * 8 * 8)
    monkeypatch.setattr(network, "decode", lambda *of: decoded.append(of[1].shape[1]) or decode(*of))
    torch.testing.assert_close(network.samples_from(image, *noise).logits, whole)
    assert decoded == [2, 2, 1]


@pytest.mark.parametrize("name", NAMES)
def test_every_declared_deviate_counts(name: str):
    network, image = network_of(name).eval(), torch.randn(1, 1, 8, 8)
    deviates, fields = noise_of(network, image, 2)
    parts = [part.requires_grad_() for part in (deviates.clone(), *fields)]
    network.samples_from(image, parts[0], parts[1:]).logits.square().sum().backward()
    assert all(part.grad is not None and bool((part.grad != 0).any()) for part in parts if part.numel())


@pytest.mark.parametrize("name", NAMES)
def test_a_call_draws_from_its_generator(name: str):
    network, image = network_of(name).eval(), torch.randn(1, 1, 8, 8)
    drawn = [network(image, generator=torch.Generator().manual_seed(seed)).logits for seed in (3, 3, 4)]
    torch.testing.assert_close(drawn[0], drawn[1], rtol=0, atol=0)
    assert (drawn[0] - drawn[2]).abs().max() > 0


@pytest.mark.parametrize("name", NAMES)
def test_the_posterior_sees_the_target_and_the_prior_does_not(name: str):
    network, image = network_of(name).eval(), torch.randn(1, 1, 8, 8)
    masks = [torch.full((1, 1, 8, 8), label) for label in (0, 1)]
    empty, full = (
        network(image, generator=torch.Generator().manual_seed(5), target=RaterMasks(mask, torch.ones(1, 1)))
        for mask in masks
    )
    assert (empty.posterior[0].mean - full.posterior[0].mean).abs().max() > 0
    torch.testing.assert_close(empty.prior[0], full.prior[0])


@pytest.mark.parametrize("name", NAMES)
def test_raters_are_drawn_by_their_weights(name: str):
    network, image = network_of(name).eval(), torch.randn(40, 1, 8, 8)
    first, second = (
        network(image, generator=torch.Generator().manual_seed(6), target=raters_of(image)).rater for _ in range(2)
    )
    assert set(first.tolist()) == {0, 1}
    assert first.tolist() == second.tolist()


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("spatial", [(9, 6), (6, 9, 6)])
def test_the_gradient_reaches_every_parameter(name: str, spatial: tuple[int, ...]):
    network, image = network_of(name, spatial_dims=len(spatial)).train(), torch.randn(4, 1, *spatial)
    LOSSES[name]()(network(image, target=raters_of(image)), raters_of(image)).backward()
    without = [key for key, value in network.named_parameters() if value.grad is None or not value.grad.any()]
    assert without == []


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
@pytest.mark.parametrize("name", NAMES)
def test_the_loss_of_a_half_precision_pass_is_right(name: str, dtype: torch.dtype):
    network, image = network_of(name).train(), torch.randn(2, 1, 128, 128)
    values = []
    for enabled in (False, True):
        with torch.autocast("cpu", dtype=dtype, enabled=enabled):
            output = network(image, generator=torch.Generator().manual_seed(7), target=raters_of(image))
            values.append(LOSSES[name]()(output, raters_of(image)))
    assert values[1].dtype == torch.float32
    torch.testing.assert_close(values[1], values[0], rtol=5e-3, atol=0)


@pytest.mark.parametrize("name", NAMES)
def test_half_precision_logits_are_summed_in_single(name: str):
    network, image = network_of(name).train(), torch.randn(2, 1, 128, 128)
    output = network(image, target=raters_of(image))
    halves = output._replace(
        logits=output.logits.half(), partial_logits=tuple(part.half() for part in output.partial_logits)
    )
    same = halves._replace(
        logits=halves.logits.double(), partial_logits=tuple(part.double() for part in halves.partial_logits)
    )
    with torch.autocast("cpu", dtype=torch.bfloat16):
        loss = LOSSES[name]()(halves, raters_of(image))
    torch.testing.assert_close(loss.double(), LOSSES[name]()(same, raters_of(image)).double(), rtol=1e-5, atol=0)


@pytest.mark.parametrize("name", NAMES)
def test_the_network_is_known_by_its_name(name: str):
    assert registered_name(network_of(name)) == name


@pytest.mark.parametrize("name", NAMES)
def test_the_small_bundle_s_levels_fit_its_windows(name: str):
    network = network_of(name, channels=SMALL_BUNDLE).eval()
    assert network(torch.zeros(1, 1, 64, 64), samples_per_expert=1).logits.shape == (1, 1, 1, 2, 64, 64)


@pytest.mark.parametrize("name", NAMES)
def test_a_temperature_divides_the_logits(name: str):
    network, image = network_of(name).eval(), torch.randn(1, 1, 8, 8)
    noise = noise_of(network, image, 2)
    before = network.samples_from(image, *noise).logits
    temper(network, 2.0)
    torch.testing.assert_close(network.samples_from(image, *noise).logits, before / 2)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"spatial_dims": 4}, "spatial_dims must be 2 or 3, got 4"),
        ({"in_channels": 0}, "in_channels must be >= 1, got 0"),
        ({"out_channels": 1}, r"out_channels must be >= 2 \(background and one class\), got 1"),
        ({"samples_per_expert": 0}, "samples_per_expert must be >= 1, got 0"),
        ({"channels": [4]}, r"channels must name at least 2 levels, got \(4,\)"),
    ],
)
@pytest.mark.parametrize("name", NAMES)
def test_settings_that_do_not_fit_are_refused(name: str, settings: dict[str, Any], message: str):
    with pytest.raises(ConfigError, match=message):
        network_of(name, **settings)


@pytest.mark.parametrize("name", NAMES)
def test_inputs_that_do_not_fit_are_refused(name: str):
    network, image = network_of(name).eval(), torch.zeros(1, 1, 8, 8)
    with pytest.raises(ShapeError, match=r"image must be B x 1 x H x W, got shape \(1, 2, 8, 8\)"):
        network(torch.zeros(1, 2, 8, 8))
    with pytest.raises(ShapeError, match=r"target must have the image's sides \(8, 8\), got \(1, 2, 8, 4\)"):
        network(image, target=RaterMasks(torch.zeros(1, 2, 8, 4, dtype=torch.long), torch.full((1, 2), 0.5)))
    with pytest.raises(ShapeError, match="deviates must be K x S x D"):
        network.samples_from(image, torch.zeros(1, 2, 77))
