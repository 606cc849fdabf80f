from __future__ import annotations

import pytest
import torch

from mose_med.networks import MoSE
from mose_med.networks.priors import quadrature_deviates
from mose_med.samples import WeightedSamples
from pipelines.evaluate import prediction as module
from pipelines.evaluate.prediction import BatchPrediction, joined, sample_set


@pytest.fixture(scope="module")
def network() -> MoSE:
    torch.manual_seed(0)
    return MoSE(channels=(4, 8), num_experts=3, samples_per_expert=2).eval()


@pytest.fixture(scope="module")
def image() -> torch.Tensor:
    return torch.randn(1, 16, 16, generator=torch.Generator().manual_seed(0))


@torch.inference_mode()
@pytest.mark.parametrize("form", ["compact", "standard"])
def test_seed_and_slice_decide_the_draw(network: MoSE, image: torch.Tensor, form: str):
    def probs(seed: int, index: int) -> torch.Tensor:
        prediction, codes = BatchPrediction(network, image[None], index), ["random"] * (form == "compact")
        return getattr(prediction, form)(6, seed, *codes).probs

    torch.testing.assert_close(probs(0, 0), probs(0, 0))
    assert not torch.equal(probs(0, 0), probs(1, 0))
    assert not torch.equal(probs(0, 0), probs(0, 1))


@torch.inference_mode()
@pytest.mark.parametrize("form", ["compact", "standard"])
@pytest.mark.parametrize("at_once", [1, 256])
def test_slices_of_a_batch_are_predicted_as_alone(
    network: MoSE, monkeypatch: pytest.MonkeyPatch, form: str, at_once: int
):
    monkeypatch.setattr(module, "_SAMPLES_AT_ONCE", at_once)
    images = torch.randn(3, 1, 16, 16, generator=torch.Generator().manual_seed(1))
    alone = joined([getattr(BatchPrediction(network, images[i : i + 1], 5 + i), form)(7, 0) for i in range(3)])
    batch = getattr(BatchPrediction(network, images, 5), form)(7, 0)
    torch.testing.assert_close(batch.probs, alone.probs)
    torch.testing.assert_close(batch.weights, alone.weights)
    assert (batch.masks != alone.masks).float().mean() < 0.001


@torch.inference_mode()
@pytest.mark.parametrize("noise_level", [-1, 0])
def test_samples_are_those_of_the_network(image: torch.Tensor, noise_level: int):
    network = MoSE(channels=(4, 8, 8), num_experts=3, noise_level=noise_level).eval()
    prediction = BatchPrediction(network, image[None], 2)
    compact = network(image[None], 2, module._generator("compact samples", 0, 2))
    standard = network.sample(image[None], 7, module._generator("standard samples", 0, 2))
    points = network.priors.at(quadrature_deviates(2, 1))
    for found, expected in (
        (prediction.compact(6, 0, "random"), compact.weighted()),
        (prediction.standard(7, 0), standard),
        (sample_set(prediction.experts(6, 0, "random").weighted()), compact.weighted()),
        (prediction.compact(6, 0), network(image[None], latents=points).weighted()),
    ):
        for one, other in zip(found, sample_set(expected), strict=True):
            torch.testing.assert_close(one, other)


@torch.inference_mode()
def test_smaller_standard_sets_are_the_first_samples_of_the_largest(network: MoSE, image: torch.Tensor):
    sets = BatchPrediction(network, image[None], 4).standard_sets([3, 8, 5], 0)
    drawn = network.sample(image[None], 8, module._generator("standard samples", 0, 4)).logits
    assert list(sets) == [3, 8, 5]
    for number, found in sets.items():
        expected = sample_set(WeightedSamples(drawn[:, :number], torch.full((1, number), 1 / number)))
        for one, other in zip(found, expected, strict=True):
            torch.testing.assert_close(one, other)


@torch.inference_mode()
def test_quadrature_points_depend_on_neither_seed_nor_slice(network: MoSE, image: torch.Tensor):
    one, other = (BatchPrediction(network, image[None], index).compact(6, seed) for index, seed in ((0, 0), (7, 1)))
    torch.testing.assert_close(one.probs, other.probs, atol=0, rtol=0)


@torch.inference_mode()
def test_the_backbone_runs_once_a_batch(network: MoSE, image: torch.Tensor):
    calls = []
    handle = network.backbone.register_forward_hook(lambda *_: calls.append(1))
    prediction = BatchPrediction(network, image[None], 0)
    for seed in range(2):
        prediction.compact(6, seed)
        prediction.standard(6, seed)
    handle.remove()
    assert len(calls) == 1


@torch.inference_mode()
@pytest.mark.parametrize(("wanted", "given"), [(1, 3), (3, 3), (8, 6)])
def test_the_compact_form_takes_what_fits_of_every_expert(network: MoSE, image: torch.Tensor, wanted: int, given: int):
    prediction = BatchPrediction(network, image[None], 0)
    assert prediction.standard(wanted, 0).masks.shape[1] == wanted
    assert prediction.compact(wanted, 0).masks.shape[1] == given


def test_marginal_is_the_weighted_mean_of_the_soft_maps():
    logits = torch.tensor([[[0.0], [100.0]], [[0.0], [0.0]]])[None]
    found = sample_set(WeightedSamples(logits, torch.tensor([[0.25, 0.75]])))
    torch.testing.assert_close(found.probs, torch.tensor([[[0.375], [0.625]]]))
    assert found.masks.flatten().tolist() == [1, 0]


@torch.inference_mode()
@pytest.mark.parametrize("form", ["compact", "standard"])
def test_what_follows_short_products_is_computed_in_float32(network: MoSE, form: str, monkeypatch: pytest.MonkeyPatch):
    given: list[WeightedSamples] = []

    def noted(samples: WeightedSamples) -> module.SampleSet:
        given.append(samples)
        return sample_set(samples)

    monkeypatch.setattr(module, "sample_set", noted)
    images = torch.randn(3, 1, 16, 16, generator=torch.Generator().manual_seed(1))
    found = getattr(BatchPrediction(network, images, 0, "bf16"), form)(6, 0)
    (samples,) = given
    assert samples.logits.dtype == torch.bfloat16
    exact = (samples.weights.double()[..., None, None, None] * samples.logits.double().softmax(dim=2)).sum(dim=1)
    torch.testing.assert_close(found.probs.double(), exact, rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(found.weights.sum(dim=1), torch.ones(3))
