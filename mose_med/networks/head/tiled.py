r"""The expert head in tiles that stay in cache, for any number of samples.

The first layer of every sample is a combination of maps that all samples of an image share, since the scale ``w = W_2
z`` is linear in the code ``z``:

.. math:: h_n = G_0 u + \sum_l z_{nl} G_l u + c_n, \qquad a_1 = \max(h_n, 0), \qquad a_{i+1} = \max(A_i a_i + b_i, 0)

Only ``u`` is kept for the backward pass; activations are computed again, tile by tile, so that memory does not grow
with N. Rows are voxels: an activation of a tile is (N T, O), contiguous in O, which makes each layer one matrix
product. A thread writes all its tiles into the same buffers, since fresh memory for each would cost more time than the
arithmetic on it.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any, NamedTuple, Protocol

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from mose_med.runtime.single_threads import share

__all__ = ["Affine", "FirstLayer", "at_least_float32", "tiled_logits", "tiled_moments"]

# Rows (voxels times samples) of a tile: its activations fit into a core's cache, or fill a GPU.
_ROWS_CPU = 16384
_ROWS_GPU = 2**20

# Runs of tiles, at most: enough for the threads to end together, few enough for their sums to cost nothing.
_RUNS_CPU = 32


class Affine(NamedTuple):
    """A linear layer: ``weight`` (O, I) and ``bias`` (O,)."""

    weight: Tensor
    bias: Tensor


class FirstLayer(NamedTuple):
    """First layer of all samples.

    ``dense`` (B, P, F) is the dense feature with voxels as rows, ``basis`` (L + 1, O, F) the maps G; ``latents``
    (B, N, L) and ``offsets`` (B, N, O) are the codes z and offsets c of the samples.
    """

    dense: Tensor
    basis: Tensor
    latents: Tensor
    offsets: Tensor


def tiled_logits(first: FirstLayer, hidden: list[Affine], classify: Affine) -> Tensor:
    """Logits (B, N, C, P) after first layer and ``hidden`` layers, all with ReLU, and the linear layer ``classify``."""
    logits: Tensor = _Logits.apply(*first, *_flat(hidden), *classify)  # type: ignore[no-untyped-call]
    return logits


def tiled_moments(first: FirstLayer, hidden: list[Affine]) -> tuple[Tensor, Tensor]:
    """Mean (O,) and second moment (O, O) of the last activation over images, samples and voxels, in float64."""
    moments: tuple[Tensor, Tensor] = _Moments.apply(*first, *_flat(hidden))  # type: ignore[no-untyped-call]
    return moments


def at_least_float32(tensor: Tensor) -> Tensor:
    """``tensor``, widened if it is of half precision, for sums over many voxels."""
    return tensor.float() if tensor.dtype in (torch.float16, torch.bfloat16) else tensor


def _flat(layers: list[Affine]) -> list[Tensor]:
    return [tensor for layer in layers for tensor in layer]


class _Logits(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, *tensors: Tensor) -> Tensor:
        work = _Work(tensors[:-2])
        weight, bias = tensors[-2:]
        logits = weight.new_empty(*work.first.latents.shape[:2], len(weight), work.first.dense.shape[1])

        def write(runs: Iterator[_Run]) -> None:
            chain = _Chain(work)
            for tile in _tiles(runs):
                last = chain.activations(tile)[-1]
                of_tile = torch.mm(weight, last.t()).add_(bias.unsqueeze(1))
                logits[tile.image, :, :, tile.voxels] = of_tile.view(len(weight), work.samples, -1).transpose(0, 1)

        share(write, work.runs(), work.threads)
        ctx.save_for_backward(*tensors)
        return logits

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad_logits: Tensor) -> tuple[Tensor, ...]:
        *tensors, weight, bias = ctx.saved_tensors
        work = _Work(tuple(tensors))

        def last_gradient(tile: _Tile, last: Tensor, sums: list[Tensor], out: Tensor) -> None:
            grad = grad_logits[tile.image, :, :, tile.voxels].transpose(0, 1).reshape(len(weight), -1)
            sums[0].add_(torch.mm(grad, last))
            sums[1].add_(grad.sum(dim=1))
            torch.mm(grad.t(), weight, out=out)

        return tuple(_gradients(work, last_gradient, (weight, bias)))


class _Moments(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, *tensors: Tensor) -> tuple[Tensor, Tensor]:
        work = _Work(tensors)
        width = work.widths[-1]
        runs = work.runs()
        means = tensors[0].new_zeros(len(runs), width, dtype=torch.float64)
        seconds = tensors[0].new_zeros(len(runs), width, width, dtype=torch.float64)

        def add(runs: Iterator[_Run]) -> None:
            chain = _Chain(work)
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
        work = _Work(ctx.saved_tensors)
        slope = ((grad_second + grad_second.t()) / work.rows).to(work.first.dense.dtype)
        constant = (grad_mean / work.rows).to(work.first.dense.dtype)

        def last_gradient(tile: _Tile, last: Tensor, sums: list[Tensor], out: Tensor) -> None:
            torch.addmm(constant, last, slope, out=out)

        return tuple(_gradients(work, last_gradient, ()))


class _Tile(NamedTuple):
    image: int
    voxels: slice
    size: int


class _Run(NamedTuple):
    """Tiles that one thread works on in turn; what they sum does not depend on the number of threads."""

    number: int
    tiles: list[_Tile]


def _tiles(runs: Iterator[_Run]) -> Iterator[_Tile]:
    return (tile for run in runs for tile in run.tiles)


class _Work:
    """What all threads share: the layers, and how the rows are cut into tiles."""

    def __init__(self, tensors: tuple[Tensor, ...]) -> None:
        self.tensors = tensors
        self.first = FirstLayer(*tensors[:4])
        self.hidden = [Affine(*pair) for pair in zip(tensors[4::2], tensors[5::2], strict=True)]
        self.widths = [self.first.offsets.shape[2], *(len(layer.bias) for layer in self.hidden)]
        batch, self.samples, self.latent_dim = self.first.latents.shape
        self.rows = batch * self.samples * self.first.dense.shape[1]
        on_cpu = self.first.dense.device.type == "cpu"
        self.threads = torch.get_num_threads() if on_cpu else 1
        rows, self.max_runs = (_ROWS_CPU, _RUNS_CPU) if on_cpu else (_ROWS_GPU, 1)
        self.tile_size = min(max(1, rows // self.samples), self.first.dense.shape[1])

    def runs(self) -> list[_Run]:
        """All tiles, in runs of about equal length; at least one run, be it empty."""
        batch, voxels, _ = self.first.dense.shape
        starts = range(0, voxels, self.tile_size)
        ends = [min(start + self.tile_size, voxels) for start in starts]
        cuts = list(zip(starts, ends, strict=True))
        tiles = [_Tile(image, slice(*cut), cut[1] - cut[0]) for image in range(batch) for cut in cuts]
        count = max(1, min(len(tiles), self.max_runs))
        bounds = [len(tiles) * index // count for index in range(count + 1)]
        return [_Run(index, tiles[bounds[index] : bounds[index + 1]]) for index in range(count)]


class _Chain:
    """First layer and hidden layers, applied to one tile at a time; each tile overwrites the one before."""

    def __init__(self, work: _Work) -> None:
        self.work = work
        self._maps = work.first.dense.new_empty((work.latent_dim + 1) * work.tile_size * work.widths[0])
        self._activations = self.new_buffers()

    def new_buffers(self) -> list[Tensor]:
        """Room for the activations of one tile."""
        return [self.work.first.dense.new_empty(self.work.samples * self.work.tile_size, w) for w in self.work.widths]

    def maps(self, tile: _Tile) -> Tensor:
        """Buffer (L + 1, T, O) of the shared maps; they stand there once :meth:`activations` has been called."""
        shape = (self.work.latent_dim + 1, tile.size, self.work.widths[0])
        return self._maps[: math.prod(shape)].view(shape)

    def activations(self, tile: _Tile) -> list[Tensor]:
        """Output (N T, O) of every layer."""
        work, first = self.work, self.work.first
        outputs = [buffer[: work.samples * tile.size] for buffer in self._activations]
        dense = first.dense[tile.image, tile.voxels].expand(work.latent_dim + 1, -1, -1)
        maps = torch.bmm(dense, first.basis.transpose(1, 2), out=self.maps(tile)).flatten(1)
        latents, offsets = first.latents[tile.image], first.offsets[tile.image]
        combined = outputs[0].view(work.samples, -1)
        if work.latent_dim == 1:  # twice as fast as a matrix product with one column
            torch.addcmul(maps[0], latents, maps[1], out=combined)
        else:
            torch.addmm(maps[0], latents, maps[1:], out=combined)
        combined.view(work.samples, tile.size, -1).add_(offsets.unsqueeze(1)).relu_()
        for index, layer in enumerate(work.hidden):
            torch.addmm(layer.bias, outputs[index], layer.weight.t(), out=outputs[index + 1]).relu_()
        return outputs


class _LastGradient(Protocol):
    """Writes the gradient of a tile's last activation to ``out`` and adds to the sums of what stands behind it."""

    def __call__(self, tile: _Tile, last: Tensor, sums: list[Tensor], out: Tensor) -> None: ...


def _gradients(work: _Work, last_gradient: _LastGradient, behind: tuple[Tensor, ...]) -> list[Tensor]:
    """Gradients of all tensors of ``work``, then of the tensors ``behind``; sums are at least of float32."""
    runs, grad_dense = work.runs(), torch.empty_like(work.first.dense)
    found: list[list[Tensor]] = [[] for _ in runs]

    def propagate(runs: Iterator[_Run]) -> None:
        backward = _Backward(work, grad_dense)
        for run in runs:
            found[run.number] = backward.sums(run, last_gradient, behind)

    share(propagate, runs, work.threads)
    totals = found[0]
    for sums in found[1:]:
        torch._foreach_add_(totals, sums)
    return [grad_dense, *totals]


class _Backward:
    """From the last activation of a tile down to the dense feature."""

    def __init__(self, work: _Work, grad_dense: Tensor) -> None:
        self.work, self.chain = work, _Chain(work)
        self._grad_dense = grad_dense
        self._activations = self.chain.new_buffers()
        ones = work.first.latents.new_ones(*work.first.latents.shape[:2], 1)
        self._terms = torch.cat([ones, work.first.latents], dim=2).transpose(1, 2).contiguous()

    def sums(self, run: _Run, last_gradient: _LastGradient, behind: tuple[Tensor, ...]) -> list[Tensor]:
        """Gradients summed over the tiles of ``run``; that of the dense feature is written in its place."""
        sums = [torch.zeros_like(at_least_float32(tensor)) for tensor in (*self.work.tensors[1:], *behind)]
        hidden, of_behind = sums[3 : len(sums) - len(behind)], sums[len(sums) - len(behind) :]
        for tile in run.tiles:
            activations = self.chain.activations(tile)
            grads = [buffer[: self.work.samples * tile.size] for buffer in self._activations]
            last_gradient(tile, activations[-1], of_behind, grads[-1])
            for index in range(len(self.work.hidden) - 1, -1, -1):
                grad = _relu_backward_(grads[index + 1], activations[index + 1])
                hidden[2 * index].add_(torch.mm(grad.t(), activations[index]))
                hidden[2 * index + 1].add_(grad.sum(dim=0))
                torch.mm(grad, self.work.hidden[index].weight, out=grads[index])
            self._add_first(tile, _relu_backward_(grads[0], activations[0]), sums[:3])
        return sums

    def _add_first(self, tile: _Tile, grad: Tensor, sums: list[Tensor]) -> None:
        work, width = self.work, grad.shape[1]
        basis, latents, offsets = sums
        maps = self.chain.maps(tile)
        of_sample = grad.view(work.samples, -1)
        offsets[tile.image].add_(grad.view(work.samples, -1, width).sum(dim=1))
        latents[tile.image].add_(torch.mm(of_sample, maps[1:].flatten(1).t()))
        grad_maps = torch.mm(self._terms[tile.image], of_sample, out=maps.flatten(1)).view_as(maps)
        dense = work.first.dense[tile.image, tile.voxels].expand(len(maps), -1, -1)
        basis.add_(torch.bmm(grad_maps.transpose(1, 2), dense))
        torch.sum(torch.bmm(grad_maps, work.first.basis), dim=0, out=self._grad_dense[tile.image, tile.voxels])


def _relu_backward_(grad: Tensor, output: Tensor) -> Tensor:
    """Zero ``grad`` in place where the ReLU's ``output`` is 0."""
    torch.ops.aten.threshold_backward(grad, output, 0, grad_input=grad)
    return grad
