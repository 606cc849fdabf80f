"""The tiled way through the head against the plain one."""

from __future__ import annotations

import copy

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from mose_med.networks import MoSE
from mose_med.networks.head import chains, tiled, tiles
from mose_med.networks.head.heads import ExpertHead, PaperHead, ReleaseHead
from mose_med.networks.noise import NoiseInjection


class Decoder(torch.nn.Module):
    """Noise injection and head, without a backbone."""

    def __init__(self, head: str, channels: int, classes: int, latent_dim: int) -> None:
        super().__init__()
        self.noise = NoiseInjection(latent_dim, channels)
        self.head: ExpertHead = (
            PaperHead(channels, classes) if head == "paper" else ReleaseHead(channels, classes, latent_dim)
        )
        for parameter in self.parameters():
            torch.nn.init.normal_(parameter, std=0.5)

    def forward(self, dense: Tensor, latents: Tensor, way: str) -> Tensor:
        maps = self.noise(latents, *self.head.first_map())
        return self.head.fast_logits(dense, maps) if way == "tiled" else self.head.plain_logits(dense, maps)


def outcome(decoder: Decoder, dense: Tensor, latents: Tensor, way: str) -> dict[str, Tensor]:
    """Logits, every gradient and the running statistics after one step."""
    decoder = copy.deepcopy(decoder)
    dense, latents = dense.clone().requires_grad_(), latents.clone().requires_grad_()
    logits = decoder(dense, latents, way)
    (logits * torch.linspace(-1, 1, logits.numel()).view_as(logits).sin()).sum().backward()
    gradients = {name: value.grad for name, value in decoder.named_parameters()}
    statistics = dict(decoder.named_buffers())
    return {"logits": logits.detach(), "dense": dense.grad, "latents": latents.grad, **gradients, **statistics}


def assert_same(found: dict[str, Tensor], expected: dict[str, Tensor]) -> None:
    largest = max(float(value.abs().max()) for value in expected.values())
    for name, value in expected.items():  # the gradient of a bias before normalisation is 0 but for rounding
        atol = 1e-4 * max(float(value.abs().max()), 1e-2 * largest)
        torch.testing.assert_close(
            found[name].to(value), value, rtol=1e-4, atol=atol, msg=lambda text, name=name: name + text
        )


@settings(deadline=None, max_examples=25)
@given(
    chain=st.sampled_from([chains._SharedMaps, chains._OneProduct]),
    head=st.sampled_from(["paper", "release"]),
    training=st.booleans(),
    batch=st.integers(1, 3),
    samples=st.integers(1, 9),
    voxels=st.integers(2, 20),
    channels=st.sampled_from([4, 8, 13]),
    classes=st.integers(2, 5),
    latent_dim=st.integers(1, 3),
    rows=st.sampled_from([1, 30, 4096]),
    seed=st.integers(0, 100),
)
def test_tiled_equals_plain_with_gradients(
    chain: type[chains.Chain],
    head: str,
    training: bool,
    batch: int,
    samples: int,
    voxels: int,
    channels: int,
    classes: int,
    latent_dim: int,
    rows: int,
    seed: int,
):
    torch.manual_seed(seed)
    decoder = Decoder(head, channels, classes, latent_dim).double().train(training)
    dense = torch.randn(batch, channels, voxels, dtype=torch.float64).relu()
    latents = torch.randn(batch, samples, latent_dim, dtype=torch.float64)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tiles, "_ROWS_CPU", rows)
        patch.setattr(tiled, "chain_of", chain)
        found = outcome(decoder, dense, latents, "tiled")
    assert_same(found, outcome(decoder, dense, latents, "plain"))


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("head", ["paper", "release"])
def test_single_precision_suffices(head: str, training: bool):
    torch.manual_seed(0)
    decoder = Decoder(head, 32, 2, 1).train(training)
    for parameter in decoder.head.parameters():
        torch.nn.init.normal_(parameter, std=0.2)
    dense, latents = torch.randn(2, 32, 600).relu(), torch.randn(2, 16, 1)
    exact = outcome(copy.deepcopy(decoder).double(), dense.double(), latents.double(), "plain")
    assert_same(outcome(decoder, dense, latents, "tiled"), exact)


def test_constant_dense_feature_has_no_variance():
    torch.manual_seed(0)
    decoder = Decoder("release", 8, 2, 1)
    dense, latents = torch.ones(1, 8, 50), torch.zeros(1, 3, 1)
    torch.testing.assert_close(decoder(dense, latents, "tiled"), decoder(dense, latents, "plain"), rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("spatial", [(6, 5), (4, 3, 2)])
@pytest.mark.parametrize("head", ["paper", "release"])
def test_network_takes_the_tiled_way(head: str, spatial: tuple[int, ...], monkeypatch: pytest.MonkeyPatch):
    torch.manual_seed(0)
    network = MoSE(spatial_dims=len(spatial), channels=(16, 20), head=head)
    image, codes = torch.randn(2, 1, *spatial), torch.randn(4, 2, 1)
    found = network(image, latents=codes).logits
    monkeypatch.setattr(ExpertHead, "has_fast_way", lambda self: False)
    torch.testing.assert_close(found, network(image, latents=codes).logits, rtol=1e-4, atol=1e-4)
    monkeypatch.setattr(ExpertHead, "plain_logits", None)
    with pytest.raises(TypeError):
        network(image, latents=codes)


def test_another_normalisation_takes_the_plain_way():
    head = ReleaseHead(8, 2, 1)
    assert head.has_fast_way()
    head.first.norm = torch.nn.GroupNorm(2, 8)
    assert not head.has_fast_way()


@pytest.mark.parametrize("head", ["paper", "release"])
def test_no_map_of_every_sample_is_kept(head: str):
    decoder = Decoder(head, 8, 2, 1)
    dense, latents = torch.randn(1, 8, 400, requires_grad=True), torch.randn(1, 16, 1)
    kept: list[int] = []
    with torch.autograd.graph.saved_tensors_hooks(lambda tensor: kept.append(tensor.numel()) or tensor, lambda x: x):
        decoder(dense, latents, "tiled")
    assert max(kept) <= dense.numel()


@pytest.mark.parametrize("head", ["paper", "release"])
def test_half_precision_is_no_worse_than_the_plain_way(head: str):
    torch.manual_seed(0)
    decoder = Decoder(head, 32, 2, 1)
    for parameter in decoder.head.parameters():
        torch.nn.init.normal_(parameter, std=0.2)
    dense, latents = torch.randn(2, 32, 300).relu(), torch.randn(2, 8, 1)
    exact = outcome(decoder, dense, latents, "tiled")
    with torch.autocast("cpu", dtype=torch.bfloat16):
        tiled_way, plain_way = (outcome(decoder, dense, latents, way) for way in ("tiled", "plain"))
    assert tiled_way["logits"].dtype == torch.bfloat16
    for name in ("logits", "dense", "head.classify.weight", "noise.scale.weight"):
        scale = exact[name].norm()
        errors = [(found[name].float() - exact[name]).norm() / scale for found in (tiled_way, plain_way)]
        assert errors[0] < 1.5 * errors[1] + 0.01, name
