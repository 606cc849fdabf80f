"""Options of ``mose-med doctor``."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from mose_med.options import Option
from pipelines.common.options import Quiet

__all__ = ["DoctorOptions"]


@dataclass(frozen=True)
class DoctorOptions:
    """What is examined."""

    data: Annotated[Path, Option("Folder that mose-med prepare wrote.")]
    quiet: Quiet = False
