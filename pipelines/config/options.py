"""Options of ``mose-med config``."""

from __future__ import annotations

from dataclasses import dataclass

from pipelines.common.options import Bundle, Overlays, Quiet, Settings

__all__ = ["ListConfigOptions", "ShowConfigOptions"]


@dataclass(frozen=True)
class ListConfigOptions:
    """Which bundle's settings are listed."""

    bundle: Bundle = "lidc"
    quiet: Quiet = False


@dataclass(frozen=True)
class ShowConfigOptions:
    """Options for merging a configuration."""

    bundle: Bundle = "lidc"
    configs: Overlays = ()
    settings: Settings = ()
    quiet: Quiet = False
