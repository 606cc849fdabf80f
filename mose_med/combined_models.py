"""One checkpoint from others: an ensemble, or a network with test-time augmentation.

The result is a checkpoint like any other: it names its network, and everything that reads checkpoints evaluates, infers
and exports it.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any

from mose_med.checkpoint import Checkpoint, read_checkpoint
from mose_med.errors import ConfigError
from mose_med.model_config import ModelConfig

__all__ = ["augmented_checkpoint", "ensemble_checkpoint"]


def ensemble_checkpoint(paths: Sequence[str | os.PathLike[str]]) -> Checkpoint:
    """Networks of several checkpoints as one, each with the same probability.

    Averaged weights are taken where there are any.

    Args:
        paths: of the checkpoints; their networks may be of different kinds.

    Raises:
        ConfigError: if there is none, or their preprocessing, classes or number of raters differ.
        DataError: if one is damaged.
    """
    if not paths:
        raise ConfigError("an ensemble needs at least one checkpoint, got none")
    members = [read_checkpoint(path) for path in paths]
    first = members[0].config
    for path, member in zip(paths, members, strict=True):
        first.require_same_data(member.config, str(path), f"{paths[0]} has")
    settings = {"name": "ensemble", "members": [member.config.to_dict()["network"] for member in members]}
    weights = [(f"members.{place}", member) for place, member in enumerate(members)]
    return _combined(settings, first, weights)


def augmented_checkpoint(path: str | os.PathLike[str]) -> Checkpoint:
    """The deterministic network of a checkpoint, asked about all eight symmetries of a square.

    Args:
        path: of the checkpoint; averaged weights are taken where there are any.

    Raises:
        ConfigError: if the file is missing or not of this project.
        DataError: if it is damaged.
    """
    member = read_checkpoint(path)
    settings = {"name": "test_time_augmentation", "member": member.config.to_dict()["network"]}
    return _combined(settings, member.config, [("member", member)])


def _combined(settings: dict[str, Any], config: ModelConfig, members: Sequence[tuple[str, Checkpoint]]) -> Checkpoint:
    weights = {
        f"{place}.{name}": value for place, member in members for name, value in (member.ema or member.model).items()
    }
    records = [record for _, member in members for record in member.learnt_from]
    known = [record for place, record in enumerate(records) if record not in records[:place]]
    whole = ModelConfig(settings, config.preprocessing, config.classes, config.num_raters)
    return Checkpoint(weights, whole, learnt_from=known)
