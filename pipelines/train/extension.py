"""Extends a training to more epochs."""

from __future__ import annotations

import logging
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mose_med.errors import ConfigError
from mose_med.files.whole_files import write_json
from pipelines.common.runs.content import CONTENT
from pipelines.common.runs.run_folder import OPTIONS_NAME, differing_option, options_record, read_options

__all__ = ["allow_more_epochs"]

_EPOCHS = "config max_epochs"
_logger = logging.getLogger(__name__)


def allow_more_epochs(folder: Path, record: Mapping[str, Any]) -> None:
    """Extend a folder's training to more epochs, if nothing else differs; the learning rate stays at its last.

    Args:
        folder: of the training.
        record: what decides the weights of the one that is wanted.

    Raises:
        ConfigError: if the learning rate of the folder's training is not one that falls linearly and then stays.
    """
    found, wanted = read_options(folder), options_record(record)
    if found is None or not found.get(_EPOCHS, math.inf) < wanted[_EPOCHS]:
        return
    alike = {_EPOCHS: None, CONTENT: None}
    if differing_option({**found, **alike}, {**wanted, **alike}) is not None:
        return
    schedule = str(record["config lr_scheduler"].get("_target_")).rpartition(".")[2]
    if schedule != "LinearLR":
        raise ConfigError(
            f"the learning rate of {folder}, by {schedule}, is set for {found[_EPOCHS]} epochs: "
            "train in another folder, with --initial-weights"
        )
    _logger.info("%s: %d epochs become %d", folder, found[_EPOCHS], wanted[_EPOCHS])
    write_json(folder / OPTIONS_NAME, {**found, _EPOCHS: wanted[_EPOCHS]})
