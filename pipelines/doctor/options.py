"""Options of ``mose-med doctor``."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from mose_med.errors import ConfigError
from mose_med.options import Option
from pipelines.common.options import Quiet

__all__ = ["DoctorOptions"]


@dataclass(frozen=True)
class DoctorOptions:
    """What is examined: a data set, or else the environment."""

    data: Annotated[
        Path | None, Option("Folder that mose-med prepare wrote.", default_text="the environment is checked")
    ] = None
    folder: Annotated[
        Path | None,
        Option("Output folder to check, without --data: disk, write access and locks.", default_text="the current one"),
    ] = None
    quiet: Quiet = False

    def __post_init__(self) -> None:
        if self.data is not None and self.folder is not None:
            raise ConfigError("--folder cannot be combined with --data: leave it out")
