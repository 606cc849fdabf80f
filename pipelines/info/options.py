"""Options of ``mose-med info``."""

from __future__ import annotations

from dataclasses import dataclass

from pipelines.common.options import Quiet

__all__ = ["InfoOptions"]


@dataclass(frozen=True)
class InfoOptions:
    """Nothing but what every command has."""

    quiet: Quiet = False
