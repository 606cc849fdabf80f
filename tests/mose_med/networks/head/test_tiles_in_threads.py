"""Tiles in several threads against tiles in one."""

from __future__ import annotations

import multiprocessing
import threading
from collections.abc import Iterator

import pytest
import torch
from torch import Tensor

from mose_med.networks.head import tiles
from mose_med.networks.head.tiled import tiled_logits, tiled_moments
from mose_med.networks.head.tiles import Affine, FirstLayer


@pytest.fixture(autouse=True)
def small_tiles(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(tiles, "_ROWS_CPU", 30)
    threads = torch.get_num_threads()
    yield
    torch.set_num_threads(threads)


def outcome(threads: int, dtype: torch.dtype = torch.float32) -> list[Tensor]:
    """Logits, moments and the gradients of all tensors."""
    torch.set_num_threads(threads)
    generator = torch.Generator().manual_seed(0)
    shapes = [(3, 50, 8), (2, 8, 8), (3, 5, 1), (3, 5, 8), (8, 8), (8,), (2, 8), (2,)]
    tensors = [torch.randn(shape, generator=generator).to(dtype).requires_grad_() for shape in shapes]
    first, hidden = FirstLayer(*tensors[:4]), [Affine(*tensors[4:6])]
    logits, moments = tiled_logits(first, hidden, Affine(*tensors[6:])), tiled_moments(first, hidden)
    total = logits.float().square().sum() + sum(moment.sum() for moment in moments)
    return [logits, *moments, *(torch.autograd.grad(total, tensors) if total.requires_grad else ())]


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("threads", [2, 3])
def test_any_number_of_threads_gives_the_same_numbers(threads: int, dtype: torch.dtype):
    inline = outcome(1, dtype)
    for _ in range(2):
        torch.testing.assert_close(outcome(threads, dtype), inline, rtol=0, atol=0)


def test_a_batch_may_be_empty():
    first = FirstLayer(torch.zeros(0, 50, 8, requires_grad=True), torch.ones(2, 8, 8), *torch.zeros(2, 0, 5, 1))
    first = first._replace(offsets=torch.zeros(0, 5, 8))
    logits = tiled_logits(first, [], Affine(torch.ones(2, 8), torch.ones(2)))
    assert logits.shape == (0, 5, 2, 50)
    assert torch.autograd.grad(logits.sum(), first.dense)[0].shape == (0, 50, 8)


def test_threads_inherit_inference_mode_and_no_autocast():
    expected = [value.detach() for value in outcome(1)[:3]]
    with torch.inference_mode(), torch.autocast("cpu", dtype=torch.bfloat16):
        found = outcome(2)
    assert found[0].is_inference()
    torch.testing.assert_close(found, expected, rtol=0, atol=0)


def test_several_threads_can_ask_at_once():
    expected, found = outcome(2)[0], []
    callers = [threading.Thread(target=lambda: found.append(outcome(2)[0])) for _ in range(3)]
    for caller in callers:
        caller.start()
    for caller in callers:
        caller.join()
    torch.testing.assert_close(found, [expected] * 3)


@pytest.mark.skipif("fork" not in multiprocessing.get_all_start_methods(), reason="needs fork")
@pytest.mark.filterwarnings("ignore:.*multi-threaded, use of fork:DeprecationWarning")
def test_a_forked_process_starts_threads_of_its_own():
    expected = outcome(2)[0].detach()
    context = multiprocessing.get_context("fork")
    queue = context.SimpleQueue()
    child = context.Process(target=lambda: queue.put(outcome(2)[0].detach().tolist()))
    child.start()
    child.join(60)
    assert child.exitcode == 0
    torch.testing.assert_close(torch.tensor(queue.get()), expected)
