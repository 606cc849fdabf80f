r"""The expert head through ``torch.compile``, for accelerators.

The same layers as :mod:`mose_med.networks.head.tiled`, from the same arguments, in pieces of images and voxels. The
compiler fuses what stands between the matrix products; each piece is checkpointed, so that its activations are
computed again in the backward pass and memory grows with the samples by their logits alone.

Compiling takes Triton and a C compiler. Support is probed once per device: a small example is compiled, and its result
must equal the tiled one.
"""

from __future__ import annotations

import functools
import logging
import warnings
from collections.abc import Callable, Iterator

import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from mose_med.networks.head.tiled import tiled_logits
from mose_med.networks.head.tiles import Affine, FirstLayer

__all__ = ["can_compile", "compiled_logits"]

_LOGGER = logging.getLogger(__name__)
# Voxels times samples of a piece: 32 channels in single precision are 512 MB an activation.
_ROWS = 2**22
_TOLERANCE = 1e-4


def compiled_logits(first: FirstLayer, hidden: list[Affine], classify: Affine) -> Tensor:
    """Logits (B, N, C, P), as :func:`mose_med.networks.head.tiled.tiled_logits` gives them."""
    layers = [tensor for layer in (*hidden, classify) for tensor in layer]
    batch, voxels, _ = first.dense.shape
    images, width = _piece_size(batch, voxels, first.latents.shape[1])
    rows = []
    for some in _cuts(batch, images):
        codes = first.latents[some], first.offsets[some]
        pieces = [
            checkpoint(_fused, first.dense[some, part], first.basis, *codes, *layers, use_reentrant=False)
            for part in _cuts(voxels, width)
        ]
        rows.append(torch.cat(pieces, dim=3))
    return torch.cat(rows)


@functools.cache
def can_compile(device: torch.device) -> bool:
    """Whether compilation works on a device, tried once; if it does not, the log says why."""
    generator = torch.Generator().manual_seed(0)
    shapes = [(2, 6, 4), (2, 4, 4), (2, 3, 1), (2, 3, 4), (4, 4), (4,), (2, 4), (2,)]
    tensors = [torch.randn(shape, generator=generator).to(device).requires_grad_() for shape in shapes]
    first, hidden, classify = FirstLayer(*tensors[:4]), [Affine(*tensors[4:6])], Affine(*tensors[6:])
    try:
        with torch.inference_mode(mode=False), torch.enable_grad():
            ways = compiled_logits, tiled_logits
            found, expected = (_with_gradients(way(first, hidden, classify), tensors) for way in ways)
    # Compilers fail in their own ways; all of them mean that this machine has to do without.
    except Exception as error:
        reason = (str(error) or type(error).__name__).splitlines()[0]
        _LOGGER.warning("the expert head is not compiled on %s: %s", device, reason)
        return False
    agree = all(torch.allclose(a, b, rtol=_TOLERANCE, atol=_TOLERANCE) for a, b in zip(found, expected, strict=True))
    if not agree:
        most = torch.stack([(a - b).detach().abs().max() for a, b in zip(found, expected, strict=True)]).max().item()
        _LOGGER.warning("the expert head is not compiled on %s: compiled results are off by up to %g", device, most)
    return agree


def _with_gradients(logits: Tensor, tensors: list[Tensor]) -> list[Tensor]:
    return [logits, *torch.autograd.grad(logits.square().sum(), tensors)]


def _fused(*tensors: Tensor) -> Tensor:
    with warnings.catch_warnings():
        # The compiler looks at the gradient of every input, and warns of its own look.
        warnings.filterwarnings("ignore", r"The \.grad attribute of a Tensor that is not a leaf", UserWarning)
        return _compiled_chain()(*tensors)


@functools.cache
def _compiled_chain() -> Callable[..., Tensor]:
    return torch.compile(_chain)


def _chain(dense: Tensor, basis: Tensor, latents: Tensor, offsets: Tensor, *layers: Tensor) -> Tensor:
    """Logits (B, N, C, P) of dense feature (B, P, F), with weight and bias of every further layer in turn."""
    batch, voxels, _ = dense.shape
    terms, width, _ = basis.shape
    maps = torch.matmul(basis.flatten(0, 1), dense.transpose(1, 2)).view(batch, terms, width, voxels)
    scaled = torch.matmul(latents, maps[:, 1:].flatten(2)).view(batch, -1, width, voxels)
    x = (maps[:, :1] + scaled + offsets.unsqueeze(3)).relu()
    for weight, bias in zip(layers[:-2:2], layers[1:-2:2], strict=True):
        x = (torch.matmul(weight, x) + bias.unsqueeze(1)).relu()
    return torch.matmul(layers[-2], x) + layers[-1].unsqueeze(1)


def _piece_size(batch: int, voxels: int, samples: int) -> tuple[int, int]:
    """How many images, and how many voxels of each, make a piece."""
    width = min(voxels, max(1, _ROWS // samples))
    return max(1, min(batch, _ROWS // (samples * width))), width


def _cuts(length: int, size: int) -> Iterator[slice]:
    return (slice(start, min(start + size, length)) for start in range(0, length, size))
