"""Extends a training to more epochs."""

from __future__ import annotations

import logging
import math
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from mose_med.errors import ConfigError
from mose_med.files.whole_files import write_json
from pipelines.common.runs.content import CONTENT, Content, require_same_files
from pipelines.common.runs.run_folder import OPTIONS_NAME, differing_option, options_record, read_options

__all__ = ["allow_more_epochs"]

_EPOCHS, _SCHEDULE, _LAST_RATE = "config max_epochs", "config lr_scheduler", "config final_learning_rate"
#: The setting that only says when to stop.
_TRAINER = "train::trainer::max_epochs"
_logger = logging.getLogger(__name__)


def allow_more_epochs(folder: Path, record: Mapping[str, Any], content: Content) -> None:
    """Extend a folder's training to more epochs, if nothing else differs; the learning rate stays at its last.

    Args:
        folder: of the training.
        record: what decides the weights of the one that is wanted.
        content: of its input files.

    Raises:
        ConfigError: if the input files have changed, or if something else than the learning rate depends on the number
            of epochs, or the rate of the folder's training is not one that falls linearly and then stays above 0.
    """
    found, wanted = read_options(folder), options_record(record)
    if found is None or not found.get(_EPOCHS, math.inf) < wanted[_EPOCHS]:
        return
    alike = {_EPOCHS: None, CONTENT: None}
    if differing_option({**found, **alike}, {**wanted, **alike}) is not None:
        return
    require_same_files(folder, content)
    fixed = _set_for_its_epochs(record)
    if fixed is not None:
        raise ConfigError(
            f"{fixed} of {folder} is set for {found[_EPOCHS]} epochs: train in another folder, with --initial-weights"
        )
    _logger.info("%s: %d epochs become %d", folder, found[_EPOCHS], wanted[_EPOCHS])
    write_json(folder / OPTIONS_NAME, {**found, _EPOCHS: wanted[_EPOCHS]})


def _set_for_its_epochs(record: Mapping[str, Any]) -> str | None:
    """What more epochs would change in those that are done, or leave without an effect; None if nothing."""
    schedule = str(record[_SCHEDULE].get("_target_")).rpartition(".")[2]
    if schedule != "LinearLR":
        return f"the learning rate, by {schedule},"
    if record.get(_LAST_RATE) == 0:
        return "the learning rate, which falls to 0,"
    others = (_places(value, name.removeprefix("config ")) for name, value in record.items() if name != _SCHEDULE)
    return next((place for found in others for place in found if place != _TRAINER), None)


def _places(value: Any, name: str) -> Iterator[str]:
    """Names of the settings that refer to the number of epochs."""
    if isinstance(value, Mapping):
        for key, inner in value.items():
            yield from _places(inner, f"{name}::{key}")
    elif isinstance(value, list | tuple):
        for inner in value:
            yield from _places(inner, name)
    elif isinstance(value, str) and "@max_epochs" in value:
        yield name
