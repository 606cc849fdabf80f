"""What the products of 16 bits must keep: the values of plain operations, and what is not finite."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from mose_med.networks import short_products
from mose_med.networks.head import chains
from mose_med.networks.head.tiled import tiled_logits
from mose_med.networks.head.tiles import Affine, FirstLayer

SHAPES = {
    "dense": (2, 40, 16),
    "basis": (3, 16, 16),
    "latents": (2, 5, 2),
    "offsets": (2, 5, 16),
    "weight": (16, 16),
    "bias": (16,),
    "classify": (3, 16),
    "shift": (3,),
}


def tensors(dtype: torch.dtype = torch.bfloat16) -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(0)
    return {name: torch.randn(shape, generator=generator).to(dtype) for name, shape in SHAPES.items()}


def logits(given: dict[str, Tensor]) -> Tensor:
    """(2, 5, 3, 40)."""
    first = FirstLayer(*(given[name] for name in ("dense", "basis", "latents", "offsets")))
    return tiled_logits(first, [Affine(given["weight"], given["bias"])], Affine(given["classify"], given["shift"]))


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
@pytest.mark.parametrize("fused", [True, False])
def test_products_of_16_bits_are_those_of_32(fused: bool, dtype: torch.dtype, monkeypatch: pytest.MonkeyPatch):
    if not fused:
        monkeypatch.setattr(short_products, "has_fused", lambda _: False)
    exact = logits({name: value.float() for name, value in tensors(dtype).items()})
    found = logits(tensors(dtype))
    assert found.dtype == dtype
    error = (found.float() - exact).norm() / exact.norm()
    assert error < (0.01 if dtype is torch.bfloat16 else 0.002)


@pytest.mark.parametrize("value", [float("nan"), -float("nan"), float("inf"), -float("inf")])
@pytest.mark.parametrize("name", SHAPES)
def test_nan_stands_where_products_of_32_bits_have_it(name: str, value: float):
    given = tensors()
    given[name].view(-1)[-1] = value
    wide = logits({name: tensor.float() for name, tensor in given.items()})
    torch.testing.assert_close(logits(given).isnan(), wide.isnan())


def test_a_feature_that_is_not_finite_spoils_its_own_voxel_alone():
    given = tensors()
    given["dense"][1, 7, 3] = float("nan")
    spoilt = logits(given).isnan()
    assert spoilt[1, :, :, 7].all()
    assert int(spoilt.sum()) == 5 * 3


def test_the_first_layer_follows_type_and_device():
    for dtype, kind in ((torch.float32, chains._SharedMaps), (torch.bfloat16, chains._OneProduct)):
        given = tensors(dtype)
        work = chains.Work(tuple(given[name] for name in ("dense", "basis", "latents", "offsets")))
        assert type(chains.chain_of(work)) is kind
