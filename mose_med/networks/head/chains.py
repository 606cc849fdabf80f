r"""First layer and hidden layers of the head on one tile, forward and backward: two ways for the first layer.

*Shared maps.* The scale ``w = W_2 z`` is linear in the code ``z``, so that the first layer of every sample is a
combination of L + 1 maps that all samples of an image share:

.. math:: h_n = G_0 u + \sum_l z_{nl} G_l u + c_n

*One product.* The matrices ``G_0 + sum_l z_nl G_l`` of all samples stand side by side in one linear layer. This is more
arithmetic, but of the kind that matrix units do; where they do it in bfloat16, what is left is quicker than adding the
maps, since PyTorch widens and narrows every number of 16 bits that it adds on a CPU.
"""

from __future__ import annotations

import functools
import math
from abc import ABC, abstractmethod
from collections.abc import Callable

import torch
from torch import Tensor

from mose_med.networks.head.tiles import Affine, Tile, Work
from mose_med.networks.short_products import FewOutputs, are_finite, rectified

__all__ = ["Chain", "chain_of"]

#: Logits (N, C, T) of a tile from its last activation (N T, O).
Classifier = Callable[[Tensor], Tensor]


class Chain(ABC):
    """The layers applied to one tile at a time; what a tile gave may be overwritten by the next.

    The rows of an activation are the tile's voxels for every sample, in an order that the chain chooses; an activation
    of N samples and T voxels is (N T, O), contiguous in O.
    """

    def __init__(self, work: Work) -> None:
        self.work = work

    def new_buffers(self) -> list[Tensor]:
        """Room for the activations of one tile: fresh memory for each would cost more time than the arithmetic."""
        return [self.work.first.dense.new_empty(self.work.samples * self.work.tile_size, w) for w in self.work.widths]

    @abstractmethod
    def activations(self, tile: Tile) -> list[Tensor]:
        """Output (N T, O) of every layer, rectified."""

    @abstractmethod
    def classifier(self, classify: Affine) -> Classifier:
        """Makes logits (N, C, T) of a tile's last activation."""

    @abstractmethod
    def as_columns(self, values: Tensor) -> Tensor:
        """Values (N, C, T) with the rows of an activation as columns: (C, N T)."""

    @abstractmethod
    def add_first(self, tile: Tile, grad: Tensor, sums: list[Tensor], of_dense: Tensor) -> None:
        """Backward through the first layer.

        Args:
            tile: whose activations were the last to be computed.
            grad: of the first layer's output before its ReLU; it may be overwritten.
            sums: gradients of basis, latents and offsets, which are added to.
            of_dense: gradient (T, F) of the dense feature, which is written.
        """


def chain_of(work: Work) -> Chain:
    """The chain that is fastest for the type and device of the layers."""
    return _OneProduct(work) if work.on_cpu and work.first.dense.dtype.itemsize == 2 else _SharedMaps(work)


def _terms(work: Work) -> Tensor:
    """Factors (B, L + 1, N) of the maps."""
    latents = work.first.latents
    return torch.cat([latents.new_ones(*latents.shape[:2], 1), latents], dim=2).transpose(1, 2).contiguous()


class _SharedMaps(Chain):
    """First layer through the shared maps; rows are ordered by sample, then voxel."""

    def __init__(self, work: Work) -> None:
        super().__init__(work)
        self._maps = work.first.dense.new_empty((work.latent_dim + 1) * work.tile_size * work.widths[0])
        self._activations = self.new_buffers()

    def _maps_of(self, tile: Tile) -> Tensor:
        """Buffer (L + 1, T, O) of the shared maps; they stand there once :meth:`activations` has been called."""
        shape = (self.work.latent_dim + 1, tile.size, self.work.widths[0])
        return self._maps[: math.prod(shape)].view(shape)

    def activations(self, tile: Tile) -> list[Tensor]:
        work, first = self.work, self.work.first
        outputs = [buffer[: work.samples * tile.size] for buffer in self._activations]
        dense = work.features(tile).expand(work.latent_dim + 1, -1, -1)
        maps = torch.bmm(dense, first.basis.transpose(1, 2), out=self._maps_of(tile)).flatten(1)
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

    def classifier(self, classify: Affine) -> Classifier:
        def logits(last: Tensor) -> Tensor:
            of_tile = torch.mm(classify.weight, last.t()).add_(classify.bias.unsqueeze(1))
            return of_tile.view(len(classify.weight), self.work.samples, -1).transpose(0, 1)

        return logits

    def as_columns(self, values: Tensor) -> Tensor:
        return values.transpose(0, 1).reshape(values.shape[1], -1)

    def add_first(self, tile: Tile, grad: Tensor, sums: list[Tensor], of_dense: Tensor) -> None:
        work, width = self.work, grad.shape[1]
        basis, latents, offsets = sums
        maps = self._maps_of(tile)
        of_sample = grad.view(work.samples, -1)
        offsets[tile.image].add_(grad.view(work.samples, -1, width).sum(dim=1))
        latents[tile.image].add_(torch.mm(of_sample, maps[1:].flatten(1).t()))
        grad_maps = torch.mm(self._factors[tile.image], of_sample, out=maps.flatten(1)).view_as(maps)
        dense = work.features(tile).expand(len(maps), -1, -1)
        basis.add_(torch.bmm(grad_maps.transpose(1, 2), dense))
        torch.sum(torch.bmm(grad_maps, work.first.basis), dim=0, out=of_dense)

    @functools.cached_property
    def _factors(self) -> Tensor:
        return _terms(self.work)


class _OneProduct(Chain):
    """First layer as one product for all samples, in 16 bits on a CPU; rows are ordered by voxel, then sample."""

    def __init__(self, work: Work) -> None:
        super().__init__(work)
        first = work.first
        self._factors = _terms(work)
        matrices = torch.einsum("bln,lof->bnof", self._factors.float(), first.basis.float())
        # One layer of N O outputs for every image.
        self._first = [
            Affine(weight.flatten(0, 1), bias.flatten())
            for weight, bias in zip(matrices.to(first.dense.dtype), first.offsets, strict=True)
        ]
        self._are_finite = are_finite(first.offsets, matrices, *work.tensors[4:])

    def activations(self, tile: Tile) -> list[Tensor]:
        features, width = self.work.features(tile), self.work.widths[0]
        finite = self._are_finite and are_finite(features)
        outputs = [rectified(features, *self._first[tile.image], finite=finite).view(-1, width)]
        for layer in self.work.hidden:
            outputs.append(rectified(outputs[-1], *layer, finite=finite))
        return outputs

    def classifier(self, classify: Affine) -> Classifier:
        layer = FewOutputs(*classify)
        return lambda last: layer(last).view(-1, self.work.samples, len(classify.bias)).permute(1, 2, 0)

    def as_columns(self, values: Tensor) -> Tensor:
        return values.permute(1, 2, 0).reshape(values.shape[1], -1)

    def add_first(self, tile: Tile, grad: Tensor, sums: list[Tensor], of_dense: Tensor) -> None:
        work = self.work
        basis, latents, offsets = sums
        of_voxel = grad.view(tile.size, -1)
        offsets[tile.image].add_(of_voxel.sum(dim=0).view_as(offsets[tile.image]))
        of_matrices = torch.mm(of_voxel.t(), work.features(tile)).view(work.samples, -1)
        latents[tile.image].add_(torch.mm(of_matrices, work.first.basis[1:].flatten(1).t()))
        basis.add_(torch.mm(self._factors[tile.image], of_matrices).view_as(basis))
        torch.mm(of_voxel, self._first[tile.image].weight, out=of_dense)
