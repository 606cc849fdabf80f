"""How a champion's training goes on: the settings and the overlay that give its network and its loss."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from mose_med.errors import ConfigError
from mose_med.files.whole_files import write_json
from mose_med.model_config import ModelConfig
from mose_med.networks.registry import DEFAULT_NETWORK
from pipelines.export.configs import model_settings
from pipelines.train.config import overlay_names

__all__ = ["fine_tuning_configs"]

_FINE_TUNING = {"max_epochs": 20, "learning_rate": 1e-4, "final_learning_rate": 1e-5, "gamma_start": 1.0}


def fine_tuning_configs(file: Path, champion: ModelConfig, bundle: str, further: Sequence[str]) -> tuple[str, ...]:
    """Config files of the training, in their order.

    Args:
        file: JSON file of the settings, which is written.
        champion: what its weights mean.
        bundle: that is trained.
        further: config files that the user has added.

    Raises:
        ConfigError: if the champion is a network whose loss no overlay has, and nothing was added that may have it.
    """
    settings: dict[str, Any] = _FINE_TUNING | model_settings(champion)
    name = champion.network_name
    overlays: tuple[str, ...] = ()
    if name != DEFAULT_NETWORK:
        known = name in overlay_names(bundle)
        if not known and not further:
            raise ConfigError(
                f"the champion is of the network {name!r}: name the config file of its loss with --config"
            )
        settings["model"] = settings.pop("network")
        overlays = (name,) if known else ()
    write_json(file, settings)
    return (*overlays, str(file), *further)
