"""The one checkpoint format: weights together with everything needed to use them or to continue training.

A file holds tensors and plain types only, is read with ``weights_only=True`` and written to a temporary name first, so
that a crash or a full disk never damages the last good one. Bundles hold weights alone, a state dict as other programs
expect it, with what they mean in ``model_config.json`` next to them; everything that reads a checkpoint reads these,
too.
"""

from __future__ import annotations

import dataclasses
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

from mose_med.errors import ConfigError, DataError
from mose_med.files.whole_files import keep_as, remove_left_over, written_whole
from mose_med.model_config import ModelConfig
from mose_med.networks.protocol import StochasticNetwork
from mose_med.networks.registry import network_class
from mose_med.runtime.tensor_files import load_tensors
from mose_med.weights.model_files import MODEL_CONFIG_NAME

__all__ = [
    "FORMAT",
    "Checkpoint",
    "ModelConfig",
    "build_network",
    "load_weights",
    "read_checkpoint",
    "write_checkpoint",
    "write_weights",
]

Network = TypeVar("Network", bound=nn.Module)

#: Version of the file layout.
FORMAT = 1
#: Entries that weights alone keep beside them.
_BESIDE = ("epoch", "metrics", "calibration", "learnt_from")


@dataclass
class Checkpoint:
    """Contents of a checkpoint file; every state is a dict as PyTorch's ``state_dict`` gives it.

    ``loss`` is what the loss keeps between steps; None if it keeps nothing. ``calibration`` says what
    ``mose-med calibrate`` fitted: its temperatures, which are in the weights, and its scores. ``learnt_from`` holds a
    record of each training that the weights come from, see :mod:`mose_med.data.training_record`.
    """

    model: dict[str, Tensor]
    config: ModelConfig
    ema: dict[str, Tensor] | None = None
    optimizer: dict[str, Any] | None = None
    scheduler: dict[str, Any] | None = None
    annealing: dict[str, Any] | None = None
    rng: dict[str, Any] | None = None
    epoch: int = 0
    metrics: dict[str, float] = field(default_factory=dict)
    calibration: dict[str, Any] | None = None
    learnt_from: list[dict[str, Any]] = field(default_factory=list)
    loss: dict[str, Any] | None = None


def write_checkpoint(
    path: str | os.PathLike[str], checkpoint: Checkpoint, *, previous: str | os.PathLike[str] | None = None
) -> None:
    """Write ``checkpoint`` to ``path`` atomically: either the new file is whole, or the old one stays.

    Args:
        path: of the file.
        checkpoint: what to write.
        previous: where the file that is replaced is kept; None drops it.
    """
    target = Path(path)
    remove_left_over(target)
    content = {entry.name: getattr(checkpoint, entry.name) for entry in dataclasses.fields(checkpoint)}
    content |= {"config": checkpoint.config.to_dict(), "format": FORMAT}
    with written_whole(target, durable=True) as temporary:
        _save(content, temporary)
        if previous is not None and target.exists():
            remove_left_over(Path(previous))
            keep_as(target, Path(previous))


def write_weights(path: str | os.PathLike[str], checkpoint: Checkpoint) -> None:
    """Write the weights alone (the averaged ones where there are any), and beside them a JSON file of what they mean.

    Args:
        path: of the weights, a state dict and nothing else.
        checkpoint: whose config, epoch, metrics, calibration and records of trainings go into ``model_config.json`` in
            the same folder.
    """
    target = Path(path)
    kept = checkpoint.config.to_dict() | {name: getattr(checkpoint, name) for name in _BESIDE} | {"format": FORMAT}
    with written_whole(target.with_name(MODEL_CONFIG_NAME), durable=True) as temporary:
        temporary.write_text(json.dumps(kept, indent=2) + "\n", encoding="utf-8")
    with written_whole(target, durable=True) as temporary:
        _save(checkpoint.ema or checkpoint.model, temporary)


def _save(content: Mapping[str, Any], path: Path) -> None:
    with path.open("wb") as stream:  # a path would put its name into the file
        torch.save(content, stream)


def read_checkpoint(path: str | os.PathLike[str], map_location: str | torch.device = "cpu") -> Checkpoint:
    """Read a checkpoint, or weights alone that ``model_config.json`` lies beside.

    Raises:
        ConfigError: if a file is missing or is not of this project.
        DataError: if a file is damaged.
        MoseError: if memory runs out.
    """
    source = Path(path)
    content = load_tensors(source, "checkpoint", map_location)
    if isinstance(content, dict) and content and all(isinstance(value, Tensor) for value in content.values()):
        content = {"model": content} | _read_sidecar(source)
    _require_format(content, f"checkpoint {source}")
    for name in ("model", "config"):
        if name not in content:
            raise ConfigError(f"checkpoint {source} lacks {name!r}: was it written by mose-med train?")
    known = {entry.name for entry in dataclasses.fields(Checkpoint)}
    found = {name: value for name, value in content.items() if name in known}
    return Checkpoint(**found | {"config": _config(content["config"], f"checkpoint {source}")})


def _require_format(content: object, source: str) -> None:
    if not isinstance(content, dict) or content.get("format") != FORMAT:
        found = content.get("format") if isinstance(content, dict) else type(content).__name__
        raise ConfigError(f"{source} must have format {FORMAT}, got {found}: was it written by mose-med train?")


def _config(values: Mapping[str, Any], source: str) -> ModelConfig:
    try:
        return ModelConfig.from_dict(values)
    except (KeyError, TypeError) as error:
        raise ConfigError(f"{source} does not say what its weights mean: {error!r}") from error


def _read_sidecar(weights: Path) -> dict[str, Any]:
    """What the file beside weights alone says of them, by the names of a checkpoint."""
    path = weights.with_name(MODEL_CONFIG_NAME)
    if not path.is_file():
        rule = f"{MODEL_CONFIG_NAME}, which says what they mean, must lie beside it"
        raise ConfigError(f"checkpoint {weights} holds weights alone: {rule}")
    try:
        found = json.loads(path.read_text(encoding="utf-8-sig"))
    except (OSError, ValueError) as error:
        raise DataError(f"{path} cannot be read: {error}") from error
    _require_format(found, str(path))
    return {"config": found} | {name: found[name] for name in (*_BESIDE, "format") if name in found}


def build_network(checkpoint: Checkpoint, source: str = "the checkpoint") -> StochasticNetwork:
    """The registered network of a checkpoint with its weights (the averaged ones where there are any), in eval mode.

    Raises:
        ConfigError: if no network has the name, or the weights do not fit the architecture that the checkpoint names.
    """
    try:
        network: StochasticNetwork = network_class(checkpoint.config.network_name)(**checkpoint.config.network)
    except TypeError as error:
        raise ConfigError(f"{source} names a network setting that does not exist: {error}") from error
    try:
        network.load_state_dict(checkpoint.ema or checkpoint.model)
    except RuntimeError as error:
        detail = str(error).splitlines()[1].strip() if len(str(error).splitlines()) > 1 else str(error)
        raise ConfigError(f"weights of {source} do not fit its architecture: {detail}") from error
    return network.eval()


def load_weights(network: Network, path: str | os.PathLike[str], config: ModelConfig) -> Network:
    """Give a network the weights of a checkpoint file, the averaged ones where there are any.

    Args:
        network: of the architecture that ``config`` names; it is changed.
        path: checkpoint file.
        config: what the weights have to be.

    Returns:
        The network.

    Raises:
        ConfigError: if the file is missing, or its weights are of another architecture, preprocessing or data.
        DataError: if it is damaged.
    """
    checkpoint = read_checkpoint(path)
    config.require_equal(checkpoint.config, str(path))
    network.load_state_dict(checkpoint.ema or checkpoint.model)
    return network
