r"""The expert head in tiles that stay in cache, for any number of samples.

With the dense feature ``u`` and the code ``z_n`` of a sample, whose scale ``w = W_2 z`` is linear in it:

.. math:: h_n = G_0 u + \sum_l z_{nl} G_l u + c_n, \qquad a_1 = \max(h_n, 0), \qquad a_{i+1} = \max(A_i a_i + b_i, 0)

Only ``u`` is kept for the backward pass; activations are computed again, tile by tile, so that memory does not grow
with N. How a tile is computed is in :mod:`mose_med.networks.head.chains`.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Protocol

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from mose_med.networks.head.chains import Chain, chain_of
from mose_med.networks.head.tiles import Affine, FirstLayer, Run, Tile, Work, at_least_float32, tiles_of
from mose_med.runtime.single_threads import share

__all__ = ["tiled_logits", "tiled_moments"]


def tiled_logits(first: FirstLayer, hidden: list[Affine], classify: Affine) -> Tensor:
    """Logits (B, N, C, P) after first layer and ``hidden`` layers, all with ReLU, and the linear layer ``classify``."""
    logits: Tensor = _Logits.apply(*first, *_flat(hidden), *classify)  # type: ignore[no-untyped-call]
    return logits


def tiled_moments(first: FirstLayer, hidden: list[Affine]) -> tuple[Tensor, Tensor]:
    """Mean (O,) and second moment (O, O) of the last activation over images, samples and voxels, in float64."""
    moments: tuple[Tensor, Tensor] = _Moments.apply(*first, *_flat(hidden))  # type: ignore[no-untyped-call]
    return moments


def _flat(layers: list[Affine]) -> list[Tensor]:
    return [tensor for layer in layers for tensor in layer]


class _Logits(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, *tensors: Tensor) -> Tensor:
        work = Work(tensors[:-2])
        weight, bias = tensors[-2:]
        logits = weight.new_empty(*work.first.latents.shape[:2], len(weight), work.first.dense.shape[1])

        def write(runs: Iterator[Run]) -> None:
            chain = chain_of(work)
            classified = chain.classifier(Affine(weight, bias))
            for tile in tiles_of(runs):
                logits[tile.image, :, :, tile.voxels] = classified(chain.activations(tile)[-1])

        share(write, work.runs(), work.threads)
        ctx.save_for_backward(*tensors)
        return logits

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad_logits: Tensor) -> tuple[Tensor, ...]:
        *tensors, weight, bias = ctx.saved_tensors
        work = Work(tuple(tensors))

        def last_gradient(chain: Chain, tile: Tile, last: Tensor, sums: list[Tensor], out: Tensor) -> None:
            grad = chain.as_columns(grad_logits[tile.image, :, :, tile.voxels])
            sums[0].add_(torch.mm(grad, last))
            sums[1].add_(grad.sum(dim=1))
            torch.mm(grad.t(), weight, out=out)

        return tuple(_gradients(work, last_gradient, (weight, bias)))


class _Moments(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, *tensors: Tensor) -> tuple[Tensor, Tensor]:
        work = Work(tensors)
        width = work.widths[-1]
        runs = work.runs()
        means = tensors[0].new_zeros(len(runs), width, dtype=torch.float64)
        seconds = tensors[0].new_zeros(len(runs), width, width, dtype=torch.float64)

        def add(runs: Iterator[Run]) -> None:
            chain = chain_of(work)
            for run in runs:
                for tile in run.tiles:
                    last = at_least_float32(chain.activations(tile)[-1])
                    means[run.number] += last.sum(dim=0)
                    seconds[run.number] += torch.mm(last.t(), last)

        share(add, runs, work.threads)
        ctx.save_for_backward(*tensors)
        return means.sum(dim=0) / work.rows, seconds.sum(dim=0) / work.rows

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad_mean: Tensor, grad_second: Tensor) -> tuple[Tensor, ...]:
        work = Work(ctx.saved_tensors)
        slope = ((grad_second + grad_second.t()) / work.rows).to(work.first.dense.dtype)
        constant = (grad_mean / work.rows).to(work.first.dense.dtype)

        def last_gradient(chain: Chain, tile: Tile, last: Tensor, sums: list[Tensor], out: Tensor) -> None:
            torch.addmm(constant, last, slope, out=out)

        return tuple(_gradients(work, last_gradient, ()))


class _LastGradient(Protocol):
    """Writes the gradient of a tile's last activation to ``out`` and adds to the sums of what stands behind it."""

    def __call__(self, chain: Chain, tile: Tile, last: Tensor, sums: list[Tensor], out: Tensor) -> None: ...


def _gradients(work: Work, last_gradient: _LastGradient, behind: tuple[Tensor, ...]) -> list[Tensor]:
    """Gradients of all tensors of ``work``, then of the tensors ``behind``; sums are at least of float32."""
    runs, grad_dense = work.runs(), torch.empty_like(work.first.dense)
    found: list[list[Tensor]] = [[] for _ in runs]

    def propagate(runs: Iterator[Run]) -> None:
        chain = chain_of(work)
        grads = chain.new_buffers()
        for run in runs:
            found[run.number] = _sums(chain, run, grads, grad_dense, last_gradient, behind)

    share(propagate, runs, work.threads)
    totals = found[0]
    for sums in found[1:]:
        torch._foreach_add_(totals, sums)
    return [grad_dense, *totals]


def _sums(
    chain: Chain,
    run: Run,
    grads: list[Tensor],
    grad_dense: Tensor,
    last_gradient: _LastGradient,
    behind: tuple[Tensor, ...],
) -> list[Tensor]:
    """Gradients summed over the tiles of a run; that of the dense feature is written in its place."""
    work = chain.work
    sums = [torch.zeros_like(at_least_float32(tensor)) for tensor in (*work.tensors[1:], *behind)]
    hidden, of_behind = sums[3 : len(sums) - len(behind)], sums[len(sums) - len(behind) :]
    for tile in run.tiles:
        activations = chain.activations(tile)
        of_tile = [buffer[: work.samples * tile.size] for buffer in grads]
        last_gradient(chain, tile, activations[-1], of_behind, of_tile[-1])
        for index in range(len(work.hidden) - 1, -1, -1):
            grad = _relu_backward_(of_tile[index + 1], activations[index + 1])
            hidden[2 * index].add_(torch.mm(grad.t(), activations[index]))
            hidden[2 * index + 1].add_(grad.sum(dim=0))
            torch.mm(grad, work.hidden[index].weight, out=of_tile[index])
        first = _relu_backward_(of_tile[0], activations[0])
        chain.add_first(tile, first, sums[:3], grad_dense[tile.image, tile.voxels])
    return sums


def _relu_backward_(grad: Tensor, output: Tensor) -> Tensor:
    """Zero ``grad`` in place where the ReLU's ``output`` is 0."""
    torch.ops.aten.threshold_backward(grad, output, 0, grad_input=grad)
    return grad
