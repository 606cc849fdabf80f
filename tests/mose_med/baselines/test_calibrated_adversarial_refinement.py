from __future__ import annotations

from typing import Any

import pytest
import torch

from mose_med.baselines.calibrated_adversarial_refinement import (
    AdversarialAdam,
    AdversarialOutput,
    AdversarialRefinementLoss,
    CalibratedAdversarialRefinement,
)
from mose_med.errors import ShapeError
from mose_med.samples import ExpertSamples
from tests.mose_med.baselines.toy import seeded, shares_of_modes, trained, two_raters

TINY = {"channels": (4, 6), "refinement_channels": 4, "discriminator_channels": 4, "image_size": (32, 32)}


def small_network(**settings: Any) -> CalibratedAdversarialRefinement:
    torch.manual_seed(0)
    return CalibratedAdversarialRefinement(**{**TINY, **settings})


def undisturbed(network: CalibratedAdversarialRefinement) -> CalibratedAdversarialRefinement:
    """In eval mode, which training differs from by dropout and by the statistics of the batch."""
    return network.eval()


def gradients(network: torch.nn.Module) -> dict[str, torch.Tensor]:
    return {name: value.grad for name, value in network.named_parameters() if value.grad is not None}


def count(network: torch.nn.Module) -> int:
    return sum(parameter.numel() for parameter in network.parameters())


def test_parameters_are_as_many_as_in_the_published_networks():
    network = CalibratedAdversarialRefinement(in_channels=3)
    assert (count(network.calibration), count(network.generator)) == (39_789_804, 619_490)
    assert count(network.discriminator) == 3_431_809


def test_parameters_at_the_channels_of_the_small_bundle():
    sizes = {"channels": (16, 32, 64, 96, 96), "refinement_channels": 16, "discriminator_channels": 32}
    network = CalibratedAdversarialRefinement(**sizes, image_size=(64, 64))
    counts = [count(part) for part in (network.calibration, network.generator, network.discriminator)]
    assert counts == [1_601_212, 156_114, 856_193]


def test_every_parameter_gets_a_gradient():
    network = small_network().train()
    image, raters = two_raters(2, 32, seeded())
    AdversarialRefinementLoss()(network(image, generator=seeded(), target=raters), raters).backward()
    assert set(gradients(network)) == {name for name, _ in network.named_parameters()}


@pytest.mark.parametrize(
    ("part", "weights"),
    [
        ("calibration", {"adversarial_weight": 0.0, "calibration_weight": 0.0, "active_steps": 0}),
        ("generator", {"active_steps": 0}),
        ("discriminator", {"adversarial_weight": 0.0, "calibration_weight": 0.0, "accuracy": 1.1}),
    ],
)
def test_each_network_gets_the_gradient_of_its_own_loss_alone(part: str, weights: dict[str, Any]):
    """The gradient of one backward over all losses equals that of a loss without those of the others."""
    image, raters = two_raters(2, 32, seeded())
    found = []
    for settings in ({"accuracy": 1.1}, weights):
        network = undisturbed(small_network())
        AdversarialRefinementLoss(**settings)(network(image, generator=seeded(), target=raters), raters).backward()
        found.append(gradients(network.get_submodule(part)))
    assert all(gradient.abs().sum() > 0 for gradient in found[0].values())
    torch.testing.assert_close(found[0], found[1])


def test_losses_of_the_others_leave_a_network_without_gradient():
    image, raters = two_raters(2, 32, seeded())
    network = undisturbed(small_network())
    output: AdversarialOutput = network(image, generator=seeded(), target=raters)
    output.fooled.sum().backward(retain_graph=True)
    assert gradients(network.discriminator) == gradients(network.calibration) == {}
    network.zero_grad(set_to_none=True)
    (output.fake.sum() + output.real.sum() + output.gradient_penalty.sum()).backward()
    assert gradients(network.generator) == gradients(network.calibration) == {}


def test_the_penalty_is_the_squared_gradient_of_the_score_of_a_raters_mask():
    network, (image, raters) = undisturbed(small_network()), two_raters(2, 32, seeded())
    output: AdversarialOutput = network(image, generator=seeded(), target=raters)
    mask = raters.masks[torch.arange(2), output.rater]
    pair = torch.cat([image, torch.stack([mask == 0, mask == 1], dim=1).float()], dim=1).requires_grad_()
    score = network.discriminator(pair)
    (slope,) = torch.autograd.grad(score.sum(), pair)
    torch.testing.assert_close(output.real, score)
    torch.testing.assert_close(output.gradient_penalty, slope.square().sum(dim=(1, 2, 3)))


def output_of(real: float, fake: float, logits: torch.Tensor | None = None) -> AdversarialOutput:
    calibrated = torch.zeros(2, 2, 4, 4) if logits is None else logits.mean(dim=1)
    samples = ExpertSamples((torch.zeros(2, 3, 2, 4, 4) if logits is None else logits).unsqueeze(1), torch.ones(2, 1))
    scores = torch.full((2,), fake), torch.full((2,), real), torch.ones(2)
    return AdversarialOutput(calibrated, samples, torch.zeros(2, dtype=torch.long), torch.zeros(6), *scores)


def test_the_discriminator_learns_in_its_turn_and_only_while_it_errs():
    loss = AdversarialRefinementLoss(active_steps=2, resting_steps=3)
    raters = two_raters(2, 4)[1]
    unsure, sure = output_of(-1.0, 1.0), output_of(1.0, -1.0)
    learns = [float(loss(unsure, raters) - _without_discriminator(unsure, raters)) > 1e-3 for _ in range(7)]
    assert learns == [True, True, False, False, False, True, True]
    fresh = AdversarialRefinementLoss()
    assert float(fresh(sure, raters) - _without_discriminator(sure, raters)) == pytest.approx(0.0, abs=1e-6)


def _without_discriminator(output: AdversarialOutput, raters: Any) -> torch.Tensor:
    return AdversarialRefinementLoss(active_steps=0)(output, raters)


def test_its_steps_are_kept_with_the_loss():
    first, second = AdversarialRefinementLoss(), AdversarialRefinementLoss()
    first(output_of(0.0, 0.0), two_raters(2, 4)[1])
    second.load_state_dict(first.state_dict())
    assert int(second.steps) == 1


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_losses_of_half_precision_logits_are_those_of_the_same_numbers_in_double(dtype: torch.dtype):
    logits = (4 * torch.randn(2, 3, 2, 4, 4, generator=seeded())).to(dtype)
    raters, loss = two_raters(2, 4)[1], AdversarialRefinementLoss()
    with torch.autocast("cpu", dtype=dtype):
        found = loss(output_of(0.3, 0.2, logits), raters)
    exact = output_of(0.3, 0.2, logits.double())._replace(calibrated=logits.mean(dim=1).double())
    torch.testing.assert_close(found.double(), loss(exact, raters).double(), rtol=1e-5, atol=0.0)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_the_discriminator_judges_in_single_precision_under_autocast(dtype: torch.dtype):
    network, (image, raters) = undisturbed(small_network()), two_raters(2, 32, seeded())
    exact = network(image, generator=seeded(), target=raters)
    with torch.autocast("cpu", dtype=dtype):
        output = network(image, generator=seeded(), target=raters)
    assert {part.dtype for part in output[3:]} == {torch.float32}
    torch.testing.assert_close(output.gradient_penalty, exact.gradient_penalty)
    torch.testing.assert_close(output.real, exact.real)


def test_other_windows_than_the_discriminators_are_refused_in_training_alone():
    network, (image, raters) = small_network(), two_raters(2, 48)
    assert network(image, samples_per_expert=2).logits.shape == (2, 1, 2, 2, 48, 48)
    with pytest.raises(ShapeError, match=r"takes windows of \(32, 32\), got \(48, 48\): set image_size"):
        network(image, target=raters)


def test_a_network_without_gradient_rests():
    network = small_network()
    optimizer = AdversarialAdam(network, lr=0.1, discriminator_lr=0.1)
    for gradient in (1.0, 0.0):
        before = {name: value.clone() for name, value in network.named_parameters()}
        for name, value in network.named_parameters():
            value.grad = torch.full_like(value, gradient if name.startswith("discriminator") else 1.0)
        optimizer.step()
    moved = {name.split(".")[0] for name, value in network.named_parameters() if not torch.equal(value, before[name])}
    assert moved == {"calibration", "generator"}


def test_the_groups_have_rates_of_their_own():
    optimizer = AdversarialAdam(small_network(), lr=0.002, discriminator_lr=0.0001)
    assert [group["lr"] for group in optimizer.param_groups] == [0.002, 0.002, 0.0001]


def test_two_modes_are_learnt():
    network = small_network(channels=(8, 12), refinement_channels=8)
    loss = AdversarialRefinementLoss(resting_steps=0)
    trained(network, loss, AdversarialAdam(network, lr=0.004, discriminator_lr=0.004), steps=90, side=32)
    with torch.no_grad():
        full, empty = shares_of_modes(network(two_raters(4, 32)[0], samples_per_expert=64, generator=seeded()))
    assert full > 0.2
    assert empty > 0.2
