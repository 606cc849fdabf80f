"""The model of a run: a checkpoint that is read once, on the device that computes."""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

import torch

from mose_med.checkpoint import ModelConfig, build_network, read_checkpoint
from mose_med.errors import ConfigError
from mose_med.model_files import model_sha256
from mose_med.networks import StochasticNetwork
from pipelines.common.device import choose_device
from pipelines.common.shipped_weights import chosen_checkpoint
from pipelines.common.weights import weights_file

__all__ = ["LoadedModel", "load_model"]


class LoadedModel(NamedTuple):
    """A network in eval mode on its device, what its weights mean, and the hash of their file."""

    network: StochasticNetwork
    config: ModelConfig
    weights_sha256: str

    def environment(self) -> dict[str, Any]:
        """What besides options and versions can change the last bits of a result."""
        return {"device": next(self.network.parameters()).device.type, "threads": torch.get_num_threads()}


def load_model(checkpoint: Path | None, device: str = "auto", threads: int | None = None) -> LoadedModel:
    """Read a checkpoint and put its network on the device.

    Args:
        checkpoint: file made by ``mose-med train``, or a bundle (folder or zip) that holds one; None for the weights
            that are shipped.
        device: ``auto``, ``cpu`` or ``cuda[:n]``.
        threads: of the CPU, for this process; as they are if None.

    Raises:
        ConfigError: if there is no checkpoint, it is not of this project, or an argument does not fit.
        DataError: if the file is damaged.
    """
    checkpoint = chosen_checkpoint(checkpoint)
    if threads is not None:
        if threads < 1:
            raise ConfigError(f"threads must be >= 1, got {threads}")
        torch.set_num_threads(threads)
    where = choose_device(device)
    with weights_file(checkpoint) as path:
        content, sha256 = read_checkpoint(path), model_sha256(path)
    network = build_network(content, str(checkpoint)).to(where)
    return LoadedModel(network, content.config, sha256)
