"""The one checkpoint format: weights together with everything needed to use them or to go on training.

A file holds tensors and plain types only, is read with ``weights_only=True`` and written to a temporary name first, so
that a crash or a full disk never damages the last good one.
"""

from __future__ import annotations

import dataclasses
import json
import os
import pickle
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from mose_med.errors import ConfigError, DataError
from mose_med.networks import MoSE
from mose_med.preprocessing import Preprocessing
from mose_med.whole_files import remove_left_over, written_whole

__all__ = [
    "FORMAT",
    "Checkpoint",
    "ModelConfig",
    "build_network",
    "load_weights",
    "read_checkpoint",
    "write_checkpoint",
]

#: Version of the file layout.
FORMAT = 1
#: Entries that older files of this version lack.
_ADDED: dict[str, Any] = {"calibration": None, "learnt_from": []}


@dataclass(frozen=True)
class ModelConfig:
    """What the weights mean.

    Attributes:
        network: keyword arguments of :class:`~mose_med.networks.MoSE`.
        preprocessing: what the network was shown.
        classes: name of every class, background first.
        num_raters: most annotations an image of the training data had.
    """

    network: dict[str, Any]
    preprocessing: Preprocessing
    classes: tuple[str, ...]
    num_raters: int

    def to_dict(self) -> dict[str, Any]:
        """Plain types only."""
        return {
            "network": dict(self.network),
            "preprocessing": self.preprocessing.to_dict(),
            "classes": list(self.classes),
            "num_raters": self.num_raters,
        }

    def require_equal(self, other: ModelConfig, source: str) -> None:
        """Refuse weights that mean something else, naming the first setting that differs.

        Args:
            other: of ``source``.
            source: of the other one, a checkpoint file.

        Raises:
            ConfigError: if they differ.
        """
        mine, theirs = (json.loads(json.dumps(config.to_dict())) for config in (self, other))
        for name in sorted(set(mine["network"]) | set(theirs["network"])):
            here, there = mine["network"].get(name), theirs["network"].get(name)
            if here != there:
                raise ConfigError(f"{source} has network {name}={there}, the config says {here}")
        self.preprocessing.require_equal(other.preprocessing, source)
        for name in ("classes", "num_raters"):
            if mine[name] != theirs[name]:
                raise ConfigError(f"{source} has {name} {theirs[name]}, the data have {mine[name]}")

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> ModelConfig:
        """Inverse of :meth:`to_dict`."""
        return cls(
            network=dict(values["network"]),
            preprocessing=Preprocessing.from_dict(values["preprocessing"]),
            classes=tuple(values["classes"]),
            num_raters=int(values["num_raters"]),
        )


@dataclass
class Checkpoint:
    """Contents of a checkpoint file; every state is a dict as PyTorch's ``state_dict`` gives it.

    ``calibration`` says what ``mose-med calibrate`` fitted: its temperatures, which are in the weights, and its scores.
    ``learnt_from`` holds a record of each training that the weights come from, see :mod:`mose_med.data.learnt_from`.
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
    with written_whole(target) as temporary:
        with temporary.open("wb") as stream:
            torch.save(content, stream)
            stream.flush()
            os.fsync(stream.fileno())
        if previous is not None and target.exists():
            target.replace(previous)


def read_checkpoint(path: str | os.PathLike[str], map_location: str | torch.device = "cpu") -> Checkpoint:
    """Read a checkpoint.

    Raises:
        ConfigError: if the file is missing or is not a checkpoint of this project.
        DataError: if the file is damaged.
    """
    source = Path(path)
    if not source.is_file():
        raise ConfigError(f"checkpoint {source} does not exist")
    try:
        content = torch.load(source, map_location=map_location, weights_only=True)
    except (RuntimeError, EOFError, pickle.UnpicklingError, OSError, ValueError, KeyError) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise DataError(f"checkpoint {source} cannot be read ({reason}): it is damaged or not a checkpoint") from error
    if not isinstance(content, dict) or content.get("format") != FORMAT:
        found = content.get("format") if isinstance(content, dict) else type(content).__name__
        raise ConfigError(
            f"checkpoint {source} must have format {FORMAT}, got {found}: was it written by mose-med train?"
        )
    content = _ADDED | content
    names = [entry.name for entry in dataclasses.fields(Checkpoint)]
    missing = [name for name in names if name not in content]
    if missing:
        raise ConfigError(f"checkpoint {source} lacks {missing[0]!r}: was it written by mose-med train?")
    content["config"] = ModelConfig.from_dict(content["config"])
    return Checkpoint(**{name: content[name] for name in names})


def build_network(checkpoint: Checkpoint, source: str = "the checkpoint") -> MoSE:
    """The network of a checkpoint with its weights (the averaged ones where there are any), in eval mode.

    Raises:
        ConfigError: if the weights do not fit the architecture that the checkpoint names.
    """
    try:
        network = MoSE(**checkpoint.config.network)
    except TypeError as error:
        raise ConfigError(f"{source} names a network setting that does not exist: {error}") from error
    try:
        network.load_state_dict(checkpoint.ema or checkpoint.model)
    except RuntimeError as error:
        detail = str(error).splitlines()[1].strip() if len(str(error).splitlines()) > 1 else str(error)
        raise ConfigError(f"weights of {source} do not fit its architecture: {detail}") from error
    return network.eval()


def load_weights(network: MoSE, path: str | os.PathLike[str], config: ModelConfig) -> MoSE:
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
