r"""Batch normalisation of the expert head, folded into the linear layer before it.

With mean :math:`\mu` and variance :math:`\sigma^2` of the linear layer's output, normalisation is one more affine
map, so

.. math:: \gamma \frac{A a + b - \mu}{\sqrt{\sigma^2 + \epsilon}} + \beta

is a linear layer of other numbers. In eval mode the statistics are the running ones. In training they follow from
mean and second moment of the layer's *input*, which are small and differentiable: for the first layer those of the
dense feature, for a deeper one those of the activation before it, in one tiled pass.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, Protocol

import torch
from torch import Tensor, nn

from mose_med.networks.head.tiled import tiled_moments
from mose_med.networks.head.tiles import Affine, FirstLayer, at_least_float32
from mose_med.networks.noise import CodeMaps, code_matrices

__all__ = ["can_fold", "folded_layers"]


class _Layer(Protocol):
    @property
    def linear(self) -> nn.Linear: ...

    @property
    def norm(self) -> nn.Module: ...


class _Statistics(NamedTuple):
    mean: Tensor
    variance: Tensor


def can_fold(norm: nn.Module) -> bool:
    """Whether ``norm`` is absent or a plain batch normalisation (synchronised ones need all processes)."""
    if isinstance(norm, nn.Identity):
        return True
    return type(norm) is nn.BatchNorm1d and norm.affine and norm.track_running_stats and norm.momentum is not None


def folded_layers(first: FirstLayer, layers: Sequence[_Layer], dtype: torch.dtype) -> tuple[FirstLayer, list[Affine]]:
    """First layer and hidden layers without normalisation, equal to ``layers`` with it.

    Args:
        first: first layer before normalisation; the weights of ``layers[0].linear`` are in it already.
        layers: all hidden layers; in training mode the running statistics of their normalisations are updated.
        dtype: of the result.
    """
    count = first.offsets.shape[0] * first.offsets.shape[1] * first.dense.shape[1]
    norm = layers[0].norm
    if isinstance(norm, nn.BatchNorm1d):
        statistics = _first_statistics(first) if norm.training else None
        scale, shift = _affine_of(norm, statistics, count)
        first = first._replace(basis=first.basis * scale.unsqueeze(1), offsets=first.offsets * scale + shift)
    first = FirstLayer(*(tensor.to(dtype) for tensor in first))
    hidden: list[Affine] = []
    for layer in layers[1:]:
        affine, norm = Affine(layer.linear.weight, layer.linear.bias), layer.norm
        if isinstance(norm, nn.BatchNorm1d):
            statistics = _hidden_statistics(first, hidden, affine) if norm.training else None
            scale, shift = _affine_of(norm, statistics, count)
            affine = Affine(affine.weight * scale.unsqueeze(1), affine.bias * scale + shift)
        hidden.append(Affine(affine.weight.to(dtype), affine.bias.to(dtype)))
    return first, hidden


def _affine_of(norm: nn.BatchNorm1d, statistics: _Statistics | None, count: int) -> tuple[Tensor, Tensor]:
    """Scale and shift of ``norm`` with the batch's statistics over ``count`` values, or in eval mode with None."""
    if statistics is None:
        mean, variance = norm.get_buffer("running_mean"), norm.get_buffer("running_var")
    else:
        mean, variance = statistics
        _track(norm, statistics, count)
    scale = norm.weight * torch.rsqrt(variance + norm.eps)
    return scale, norm.bias - mean * scale


@torch.no_grad()
def _track(norm: nn.BatchNorm1d, statistics: _Statistics, count: int) -> None:
    """Update running statistics as PyTorch does, with the unbiased variance."""
    momentum = norm.momentum or 0.0
    norm.get_buffer("num_batches_tracked").add_(1)
    norm.get_buffer("running_mean").lerp_(statistics.mean, momentum)
    norm.get_buffer("running_var").lerp_(statistics.variance * (count / max(count - 1, 1)), momentum)


def _first_statistics(first: FirstLayer) -> _Statistics:
    """Mean and variance (O,) of the first layer over images, samples and voxels, from those of the dense feature."""
    dense = at_least_float32(first.dense)
    mean = dense.mean(dim=1, keepdim=True)
    centred = dense - mean
    covariance = torch.bmm(centred.transpose(1, 2), centred) / dense.shape[1]
    matrices = code_matrices(CodeMaps(first.basis, first.latents, first.offsets)).to(dense.dtype)
    sample_means = torch.matmul(matrices, mean.unsqueeze(3)).squeeze(3) + first.offsets
    within = (torch.matmul(matrices, covariance.unsqueeze(1)) * matrices).sum(dim=3)
    overall = sample_means.mean(dim=(0, 1))
    between = (sample_means - overall).square()
    return _Statistics(overall, (within + between).mean(dim=(0, 1)))


def _hidden_statistics(first: FirstLayer, hidden: list[Affine], layer: Affine) -> _Statistics:
    """Mean and variance (O,) of a linear ``layer`` behind the others, from the moments of its input."""
    mean, second = tiled_moments(first, hidden)
    weight = layer.weight.double()
    covariance = second - torch.outer(mean, mean)
    variance = (torch.matmul(weight, covariance) * weight).sum(dim=1).clamp_min(0)
    return _Statistics(torch.mv(weight, mean).to(layer.bias) + layer.bias, variance.to(layer.bias))
