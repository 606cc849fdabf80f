"""How the head's layers are given, and how its rows, voxels times samples, are cut into tiles."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import torch
from torch import Tensor

__all__ = ["Affine", "FirstLayer", "Run", "Tile", "Work", "at_least_float32", "tiles_of"]

# Rows (voxels times samples) of a tile: its activations fit into a core's cache, or fill a GPU. In 16 bits the products
# are so quick that what every call costs counts more than the cache.
_ROWS_CPU = 16384
_ROWS_CPU_16_BITS = 65536
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


class Tile(NamedTuple):
    """All samples of some voxels of one image."""

    image: int
    voxels: slice
    size: int


class Run(NamedTuple):
    """Tiles that one thread works on in turn; what they sum does not depend on the number of threads."""

    number: int
    tiles: list[Tile]


def tiles_of(runs: Iterator[Run]) -> Iterator[Tile]:
    """The tiles of some runs, in order."""
    return (tile for run in runs for tile in run.tiles)


def at_least_float32(tensor: Tensor) -> Tensor:
    """``tensor``, widened if it is of half precision, for sums over many voxels."""
    return tensor.float() if tensor.dtype in (torch.float16, torch.bfloat16) else tensor


class Work:
    """What all threads share: the layers, and how the rows are cut into tiles.

    Args:
        tensors: the first layer's, then weight and bias of every hidden layer.
    """

    def __init__(self, tensors: tuple[Tensor, ...]) -> None:
        self.tensors = tensors
        self.first = FirstLayer(*tensors[:4])
        self.hidden = [Affine(*pair) for pair in zip(tensors[4::2], tensors[5::2], strict=True)]
        self.widths = [self.first.offsets.shape[2], *(len(layer.bias) for layer in self.hidden)]
        batch, self.samples, self.latent_dim = self.first.latents.shape
        self.rows = batch * self.samples * self.first.dense.shape[1]
        self.on_cpu = self.first.dense.device.type == "cpu"
        self.threads = torch.get_num_threads() if self.on_cpu else 1
        on_cpu = _ROWS_CPU_16_BITS if self.first.dense.dtype.itemsize == 2 else _ROWS_CPU
        rows, self.max_runs = (on_cpu, _RUNS_CPU) if self.on_cpu else (_ROWS_GPU, 1)
        size = rows // self.samples
        # A multiple of 16, so that whatever the number of samples, several rows fit into one product.
        self.tile_size = min(max(1, size // 16 * 16 or size), self.first.dense.shape[1])

    def runs(self) -> list[Run]:
        """All tiles, in runs of about equal length; at least one run, be it empty."""
        batch, voxels, _ = self.first.dense.shape
        starts = range(0, voxels, self.tile_size)
        ends = [min(start + self.tile_size, voxels) for start in starts]
        cuts = list(zip(starts, ends, strict=True))
        tiles = [Tile(image, slice(*cut), cut[1] - cut[0]) for image in range(batch) for cut in cuts]
        count = max(1, min(len(tiles), self.max_runs))
        bounds = [len(tiles) * index // count for index in range(count + 1)]
        return [Run(index, tiles[bounds[index] : bounds[index + 1]]) for index in range(count)]

    def features(self, tile: Tile) -> Tensor:
        """Dense feature (T, F) of a tile."""
        return self.first.dense[tile.image, tile.voxels]
