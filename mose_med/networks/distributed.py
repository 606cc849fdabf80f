"""A network that several processes train together."""

from __future__ import annotations

import torch
import torch.distributed as dist

# Its functions keep the group that exists when they are imported, which the wrapper of a network would do later.
import torch.distributed.nn.functional
from torch import nn
from torch.nn.parallel import DistributedDataParallel

from mose_med.errors import ConfigError

__all__ = ["distributed_network", "leave_group"]


def distributed_network(
    network: nn.Module, device: torch.device, *, sync_batch_norm: bool = False
) -> DistributedDataParallel:
    """Wrap a network so that its gradients are averaged over all processes.

    Every process normalises by its own batch. The running statistics are not broadcast in every step, as PyTorch would
    by default: :class:`~mose_med.handlers.BufferAverage` averages them once per epoch.

    Args:
        network: on ``device``; its parameters are those of the result.
        device: of this process.
        sync_batch_norm: normalise by the batches of all processes, which gloo cannot do. The layers of ``network`` are
            replaced.

    Raises:
        ConfigError: if statistics are to be shared on a CPU.
    """
    if sync_batch_norm:
        if device.type != "cuda":
            raise ConfigError(f"sync_batch_norm applies only to CUDA devices, got device {device}")
        network = nn.SyncBatchNorm.convert_sync_batchnorm(network)  # type: ignore[no-untyped-call]
    devices = [device] if device.type == "cuda" else None
    return DistributedDataParallel(network, device_ids=devices, broadcast_buffers=False)


def leave_group(network: DistributedDataParallel) -> None:
    """End the group of the processes, after which ``network`` can no longer be trained.

    The threads of a group end with the last reference to it. One that is still at work when the interpreter ends
    aborts the process, after everything was done (https://github.com/pytorch/pytorch/pull/179291).
    """
    del network.reducer, network.logger, network.process_group
    dist.destroy_process_group()
