"""How a network uses memory: how its kernels lie there, and how much it computes at once."""

from __future__ import annotations

import torch
from torch import nn

from mose_med.networks.protocol import StochasticNetwork

__all__ = ["lay_channels_last", "planar_kernels", "spans_at_once"]

#: Voxels of a batch that are computed together. On a CPU they stay in its caches: more take up to twice as long. A GPU
#: has to hold them: activations of 64 channels are 512 MB.
_VOXELS_AT_ONCE = {"cpu": 2**16}
_VOXELS_AT_ONCE_ELSEWHERE = 2**21


def planar_kernels(network: StochasticNetwork) -> list[nn.Parameter]:
    """Kernels of the 2D convolutions of a network."""
    return [parameter for parameter in network.parameters() if parameter.ndim == 4]


def lay_channels_last(network: StochasticNetwork) -> None:
    """Lay the kernels of a network on a CPU with their channels last: it convolves a fifth to twice as fast.

    The values stay; networks on other devices are left as they are.
    """
    for kernel in planar_kernels(network):
        if kernel.device.type == "cpu":
            kernel.data = kernel.data.contiguous(memory_format=torch.channels_last)


def spans_at_once(length: int, voxels: int, device: torch.device) -> list[slice]:
    """Parts of a batch that are best computed one after another.

    Args:
        length: of the batch.
        voxels: of each of its members.
        device: that computes.

    Example:
        >>> spans_at_once(10, 128 * 128, torch.device("cpu"))
        [slice(0, 4, None), slice(4, 8, None), slice(8, 10, None)]
    """
    at_once = max(1, _VOXELS_AT_ONCE.get(device.type, _VOXELS_AT_ONCE_ELSEWHERE) // voxels)
    return [slice(first, min(first + at_once, length)) for first in range(0, length, at_once)]
