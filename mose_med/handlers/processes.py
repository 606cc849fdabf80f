"""The rank of this process in a training. No call here waits for another process."""

from __future__ import annotations

import torch.distributed as dist

__all__ = ["is_first_process", "is_one_of_several"]


def is_one_of_several() -> bool:
    """Whether torchrun has started this process with others."""
    return dist.is_available() and dist.is_initialized()


def is_first_process() -> bool:
    """Whether this is the only process, or the first."""
    return not is_one_of_several() or dist.get_rank() == 0
