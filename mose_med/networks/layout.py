"""How the kernels of a network lie in memory."""

from __future__ import annotations

import torch
from torch import nn

from mose_med.networks.protocol import StochasticNetwork

__all__ = ["lay_channels_last", "planar_kernels"]


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
