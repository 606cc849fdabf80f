"""The backbone in bfloat16, with normalisation and ReLU in the convolution, against layer by layer."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from mose_med.networks import MoSE, short_products
from mose_med.networks.backbones.unet import UNet
from mose_med.networks.memory import lay_channels_last

needs_instructions = pytest.mark.skipif(
    not short_products.has_fused(torch.bfloat16), reason="needs a processor with AVX-512"
)


@pytest.fixture(autouse=True)
def small_images(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(short_products, "_PIXELS", 2 * 32 * 32)


@pytest.fixture
def network() -> MoSE:
    torch.manual_seed(0)
    network = MoSE(channels=(8, 16, 16), num_experts=3).train()
    with torch.no_grad():
        for _ in range(3):  # running statistics that are not 0 and 1
            network(2 * torch.randn(4, 1, 32, 32) + 1)
    return network.eval()


@pytest.fixture
def image() -> Tensor:
    return torch.randn(2, 1, 32, 32, generator=torch.Generator().manual_seed(1))


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """One entry for each layer that is one operation."""
    found: list[int] = []
    one = short_products._through
    monkeypatch.setattr(short_products, "_through", lambda *given: (found.append(1), one(*given))[1])
    return found


def features(network: MoSE, image: Tensor, dtype: torch.dtype = torch.bfloat16) -> Tensor:
    with torch.inference_mode(), torch.autocast("cpu", dtype=dtype):
        return network.features(image).dense_feature.float()


@needs_instructions
@pytest.mark.parametrize("last", [False, True])
def test_one_operation_a_layer_is_no_worse_than_three(
    network: MoSE, image: Tensor, calls: list[int], last: bool, monkeypatch: pytest.MonkeyPatch
):
    if last:
        lay_channels_last(network)
    with torch.inference_mode():
        exact = network.features(image).dense_feature
    assert not calls
    fused = features(network, image)
    assert len(calls) == 15
    monkeypatch.setattr(short_products, "has_fused", lambda _: False)
    apart = features(network, image)
    assert len(calls) == 15
    errors = [float((found - exact).norm() / exact.norm()) for found in (fused, apart)]
    assert errors[0] < 1.2 * errors[1]
    assert errors[0] < 0.02


@needs_instructions
@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_an_image_that_is_not_finite_is_not_drawn(network: MoSE, image: Tensor, value: float):
    image[1, 0, 5, 5] = value
    assert features(network, image)[1].isnan().any()
    with torch.inference_mode(), torch.autocast("cpu", dtype=torch.bfloat16):
        assert network(image).logits[1].isnan().any()


@needs_instructions
@pytest.mark.parametrize("name", ["conv.weight", "conv.bias", "norm.weight", "norm.bias", "norm.running_mean"])
def test_weights_that_are_not_finite_spoil_the_features(network: MoSE, image: Tensor, name: str):
    state = network.backbone.decoder[-1][-1].state_dict()
    state[name].view(-1)[0] = float("nan")
    assert features(network, image)[:, 0].isnan().all()


def test_trainings_and_other_types_take_layer_by_layer(network: MoSE, image: Tensor, calls: list[int]):
    with torch.autocast("cpu", dtype=torch.bfloat16):
        network.features(image).dense_feature.float().sum().backward()
    features(network, image, torch.float16)
    network.train()
    features(network, image)
    assert not calls


def test_for_few_pixels_folding_would_not_pay(network: MoSE, image: Tensor, calls: list[int]):
    features(network, image[:1])
    assert not calls


def test_volumes_take_layer_by_layer(calls: list[int]):
    network = UNet(3, 1, (4, 8)).eval()
    with torch.inference_mode(), torch.autocast("cpu", dtype=torch.bfloat16):
        network(torch.randn(1, 1, 16, 16, 16))
    assert not calls


@pytest.mark.parametrize("outputs", [1, 2, 3, 7, 19])
@pytest.mark.parametrize("rows", [0, 1, 12, 64, 100])
def test_few_outputs_are_those_of_one_row_at_a_time(outputs: int, rows: int):
    torch.manual_seed(0)
    weight, bias, x = (torch.randn(*shape).bfloat16() for shape in ((outputs, 32), (outputs,), (rows, 32)))
    found = short_products.FewOutputs(weight, bias)(x)
    torch.testing.assert_close(found, short_products.linear(x, weight, bias), rtol=0.01, atol=0.05)


@needs_instructions
@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_row_that_is_not_finite_leaves_its_neighbours(value: float, monkeypatch: pytest.MonkeyPatch):
    torch.manual_seed(0)
    weight, bias, x = (torch.randn(*shape).bfloat16() for shape in ((2, 32), (2,), (64, 32)))
    x[9, 4] = value
    made: list[torch.Size] = []
    one = short_products.linear
    monkeypatch.setattr(short_products, "linear", lambda x, *layer: (made.append(x.shape), one(x, *layer))[1])
    finite = short_products.FewOutputs(weight, bias)(x).isfinite()
    assert made == [(8, 256), (64, 32)]
    assert not finite[9].any()
    assert int(finite.sum()) == 2 * 63


def test_a_torch_without_the_operations_is_no_error(monkeypatch: pytest.MonkeyPatch):
    short_products.has_fused.cache_clear()
    monkeypatch.setattr(torch.ops, "mkldnn", object())
    assert not short_products.has_fused(torch.bfloat16)
    short_products.has_fused.cache_clear()
