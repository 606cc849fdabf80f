"""Products in bfloat16 on a CPU, with what follows them in the same pass.

PyTorch widens and narrows every number of 16 bits on its way through an addition, a normalisation or a ReLU. Where
matrix units do the products, these passes take longer than the products. The operations here are those that PyTorch's
compiler uses; where they are missing, or the processor has not the instructions, plain operations take their place.

A fused ReLU makes 0 of NaN. What is not finite therefore goes through plain operations, which keep it.
"""

# torch.jit.is_tracing is not an explicit export.
# mypy: disable-error-code="attr-defined"

from __future__ import annotations

import functools
import math
from collections.abc import Iterable
from typing import Any, Protocol

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils.fusion import fuse_conv_bn_weights

__all__ = ["ConvNormRelu", "FewOutputs", "are_finite", "can_fuse", "has_fused", "linear", "rectified", "through"]


#: Outputs of a layer of few, all rows of one product together: the fastest of 2, 4, 8, 16 and 32 for two classes.
_OUTPUTS = 16

#: Pixels of a batch from which on folding the normalisation into the weights takes less than the passes that it saves.
_PIXELS = 2**15


class ConvNormRelu(Protocol):
    """A convolution, its normalisation, and a ReLU."""

    @property
    def conv(self) -> Any:
        """Convolution."""

    @property
    def norm(self) -> Any:
        """Batch normalisation."""


@functools.cache
def has_fused(dtype: torch.dtype) -> bool:
    """Whether PyTorch has the fused operations, and the processor the instructions for a type."""
    if dtype is not torch.bfloat16 or not torch.backends.mkldnn.is_available():  # type: ignore[no-untyped-call]
        return False
    operations = torch.ops.mkldnn
    try:
        known = (operations._linear_pointwise, operations._convolution_pointwise)
        return all(map(callable, known)) and bool(operations._is_mkldnn_bf16_supported())
    except AttributeError:
        return False


def are_finite(*tensors: Tensor) -> bool:
    """Whether no number is NaN or infinite."""
    return all(math.isfinite(tensor.sum().item()) for tensor in tensors)


def linear(rows: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """(N, I) -> (N, O)."""
    return _linear(rows, weight, bias, "none") if has_fused(rows.dtype) else F.linear(rows, weight, bias)


def rectified(rows: Tensor, weight: Tensor, bias: Tensor, *, finite: bool) -> Tensor:
    """(N, I) -> (N, O), with ReLU.

    Args:
        rows: input.
        weight: (O, I).
        bias: (O,).
        finite: whether all of these are finite.
    """
    if finite and has_fused(rows.dtype):
        return _linear(rows, weight, bias, "relu")
    return F.linear(rows, weight, bias).relu_()


def _linear(rows: Tensor, weight: Tensor, bias: Tensor, then: str) -> Tensor:
    """Product, bias and what follows in one pass; with separate passes, a layer of 32 channels takes twice as long."""
    result: Tensor = torch.ops.mkldnn._linear_pointwise(rows, weight, bias, then, [], "")
    return result


class FewOutputs:
    """A layer of few outputs, several rows in one product: row by row it takes nearly as long as a layer of many.

    The layer stands in the product once for each of these rows, with zeros beside it. A row that is not finite would
    spoil the others, since 0 times NaN is NaN: where a result is not finite, each row is taken by itself.

    Args:
        weight: (O, I).
        bias: (O,).
    """

    def __init__(self, weight: Tensor, bias: Tensor) -> None:
        self._outputs = len(weight)
        self._single = weight, bias
        # A power of two divides the rows of every tile but the last.
        self._together = 2 ** int(math.log2(max(1, _OUTPUTS // self._outputs))) if has_fused(weight.dtype) else 1
        self._several = _side_by_side(weight, self._together), bias.repeat(self._together)

    def __call__(self, rows: Tensor) -> Tensor:
        """(N, I) -> (N, O)."""
        number, inputs = rows.shape
        if self._together > 1 and number % self._together == 0:
            found = linear(rows.view(number // self._together, self._together * inputs), *self._several)
            if are_finite(found):
                return found.view(number, self._outputs)
        return linear(rows, *self._single)


def _side_by_side(weight: Tensor, times: int) -> Tensor:
    """A matrix as the blocks of a diagonal: (O, I) -> (times O, times I)."""
    return torch.kron(torch.eye(times, dtype=weight.dtype, device=weight.device), weight)


def can_fuse(layers: Iterable[ConvNormRelu], x: Tensor) -> bool:
    """Whether layers are best one operation each: in 2D, in bfloat16, without gradients, ``x`` large and finite."""
    if torch.is_grad_enabled() or x.device.type != "cpu" or not torch.is_autocast_enabled("cpu"):
        return False
    if x.numel() < _PIXELS * x.shape[1]:
        return False
    if torch.jit.is_tracing() or torch.compiler.is_compiling():  # type: ignore[no-untyped-call]
        return False
    known = (type(layer.conv) is nn.Conv2d and _is_plain(layer.norm) for layer in layers)
    return has_fused(torch.get_autocast_dtype("cpu")) and are_finite(x) and all(known)


def _is_plain(norm: nn.Module) -> bool:
    return type(norm) is nn.BatchNorm2d and not norm.training and norm.affine and norm.track_running_stats


def through(layers: Iterable[ConvNormRelu], x: Tensor) -> Tensor:
    r"""Layers in bfloat16, normalisation folded into the convolution: (B, I, H, W) -> (B, O, H, W)."""
    for layer in layers:
        x = _through(layer.conv, layer.norm, x)
    return x


def _through(conv: Any, norm: Any, x: Tensor) -> Tensor:
    weight, bias = fuse_conv_bn_weights(
        conv.weight, conv.bias, norm.running_mean, norm.running_var, norm.eps, norm.weight, norm.bias
    )
    then = "relu" if are_finite(weight, bias) else "none"
    short = [tensor.to(torch.bfloat16) for tensor in (x, weight, bias)]
    geometry = (conv.padding, conv.stride, conv.dilation, conv.groups)
    result: Tensor = torch.ops.mkldnn._convolution_pointwise(*short, *geometry, then, [], "")
    return result if then == "relu" else result.relu_()
