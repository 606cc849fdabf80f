"""The shipped weights: a bundle with weights, the default of every command that needs a model."""

from __future__ import annotations

import json
import logging
from functools import cache
from importlib.resources import files
from pathlib import Path

from mose_med.errors import ConfigError
from mose_med.weights.files import BUNDLE_WEIGHTS, weights_sha256

__all__ = ["SHIPPED_BUNDLE", "chosen_checkpoint", "shipped_bundle"]

#: The bundle whose weights are shipped.
SHIPPED_BUNDLE = "lidc_small"

_HASH_SHOWN = 12
_logger = logging.getLogger(__name__)


def shipped_bundle() -> Path:
    """Folder of the bundle with its weights.

    Raises:
        ConfigError: if the installation lacks the weights.
    """
    folder = Path(str(files("configs"))) / SHIPPED_BUNDLE
    if not (folder / BUNDLE_WEIGHTS).is_file():
        raise ConfigError(
            f"the weights of {SHIPPED_BUNDLE} are missing from this installation: install the package again, or pass "
            "--checkpoint FILE, made by `mose-med train`"
        )
    return folder


def chosen_checkpoint(path: Path | None) -> Path:
    """The named checkpoint, or the shipped weights, with one line in the log.

    Raises:
        ConfigError: if none was named and the installation lacks the weights.
    """
    if path is not None:
        return path
    folder = shipped_bundle()
    _log_version(folder)
    return folder


@cache
def _log_version(folder: Path) -> None:
    """Once a process: what is used."""
    version = json.loads((folder / "configs" / "metadata.json").read_text(encoding="utf-8"))["version"]
    sha256 = weights_sha256(folder)[:_HASH_SHOWN]
    _logger.info("weights: %s %s, shipped with mose-med (sha256 %s)", SHIPPED_BUNDLE, version, sha256)
