"""The compiled way through the head against the tiled one; on the CPU, through the same compiler as on a GPU."""

from __future__ import annotations

import logging
import shutil

import pytest
import torch
from torch import Tensor

from mose_med.networks.head import compiled
from mose_med.networks.head import heads as head
from mose_med.networks.head.compiled import can_compile, compiled_logits
from mose_med.networks.head.tiled import tiled_logits
from mose_med.networks.head.tiles import Affine, FirstLayer
from mose_med.networks.mose.network import MoSE

CPU = torch.device("cpu")


@pytest.fixture(autouse=True)
def _nothing_remembered():
    yield
    can_compile.cache_clear()
    compiled._compiled_chain.cache_clear()
    torch.compiler.reset()


@pytest.fixture
def eager_backend(monkeypatch: pytest.MonkeyPatch):
    """Graph capture and its gradients without the minutes of code generation."""
    whole = torch.compile
    monkeypatch.setattr(torch, "compile", lambda function: whole(function, backend="aot_eager"))


def problem(batch: int, samples: int, voxels: int, latent_dim: int, hidden: int, classes: int) -> list[Tensor]:
    shapes = [(batch, voxels, 6), (latent_dim + 1, 8, 6), (batch, samples, latent_dim), (batch, samples, 8)]
    shapes += [shape for _ in range(hidden) for shape in ((8, 8), (8,))] + [(classes, 8), (classes,)]
    generator = torch.Generator().manual_seed(batch + samples)
    return [torch.randn(shape, generator=generator, dtype=torch.float64).requires_grad_() for shape in shapes]


def outcome(way: object, tensors: list[Tensor]) -> list[Tensor]:
    hidden = [Affine(*pair) for pair in zip(tensors[4:-2:2], tensors[5:-2:2], strict=True)]
    logits = way(FirstLayer(*tensors[:4]), hidden, Affine(*tensors[-2:]))
    return [logits, *torch.autograd.grad(logits.sin().sum(), tensors)]


@pytest.mark.parametrize("rows", [4, 60, 2**22])
@pytest.mark.parametrize("sizes", [(3, 4, 11, 1, 2, 2), (1, 2, 5, 3, 0, 3), (2, 7, 30, 2, 1, 5)])
@pytest.mark.usefixtures("eager_backend")
def test_compiled_equals_tiled_with_gradients(rows: int, sizes: tuple[int, ...], monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(compiled, "_ROWS", rows)
    tensors = problem(*sizes)
    torch.testing.assert_close(outcome(compiled_logits, tensors), outcome(tiled_logits, tensors))


@pytest.mark.parametrize("name", ["paper", "release"])
@pytest.mark.usefixtures("eager_backend")
def test_a_training_step_is_the_same_either_way(name: str, monkeypatch: pytest.MonkeyPatch):
    def step() -> list[Tensor]:
        torch.manual_seed(0)
        network = MoSE(channels=(8, 12), head=name)
        samples = network(torch.randn(2, 1, 6, 5), latents=torch.linspace(-1, 1, 8).view(4, 2, 1))
        (samples.logits.sin().sum() + samples.expert_probs.square().sum()).backward()
        return [samples.logits.detach(), *(p.grad for p in network.parameters()), *network.buffers()]

    expected = step()
    monkeypatch.setattr(head, "_is_compiled_on", lambda device: True)
    torch.testing.assert_close(step(), expected, rtol=1e-4, atol=1e-4)


@pytest.mark.skipif(shutil.which("g++") is None, reason="needs a C++ compiler")
def test_a_machine_with_a_compiler_can_compile():
    assert can_compile(CPU)


def test_a_machine_without_one_says_so_and_takes_tiles(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
):
    def broken(function: object) -> object:
        raise RuntimeError("no C compiler")

    monkeypatch.setattr(torch, "compile", broken)
    with caplog.at_level(logging.WARNING):
        assert not can_compile(CPU)
    assert "the expert head is not compiled on cpu: no C compiler" in caplog.text


def test_another_result_is_not_taken_and_told(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture):
    monkeypatch.setattr(compiled, "_compiled_chain", lambda: lambda *args: 2 * compiled._chain(*args))
    with caplog.at_level(logging.WARNING):
        assert not can_compile(CPU)
    assert "the expert head is not compiled on cpu: compiled results are off by up to" in caplog.text


def test_results_that_are_not_numbers_are_told(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture):
    monkeypatch.setattr(compiled, "_compiled_chain", lambda: lambda *args: float("nan") * compiled._chain(*args))
    with caplog.at_level(logging.WARNING):
        assert not can_compile(CPU)
    assert "compiled results are off by up to nan" in caplog.text


def test_the_cpu_takes_tiles(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(head, "compiled_logits", None)
    assert MoSE(channels=(4, 8))(torch.zeros(1, 1, 4, 4)).logits.shape[1] == 4


def test_an_accelerator_is_compiled_for_only_where_that_is_switched_on(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(head, "can_compile", lambda device: True)
    accelerator = torch.device("cuda")
    assert not head._is_compiled_on(accelerator)
    monkeypatch.setattr(head, "COMPILED_ON_ACCELERATORS", True)
    assert head._is_compiled_on(accelerator)
    assert not head._is_compiled_on(CPU)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_compiled_equals_tiled_on_cuda():
    assert can_compile(torch.device("cuda"))
    tensors = [tensor.detach().float().cuda().requires_grad_() for tensor in problem(4, 16, 900, 1, 2, 2)]
    torch.testing.assert_close(outcome(compiled_logits, tensors), outcome(tiled_logits, tensors), rtol=1e-4, atol=1e-4)
