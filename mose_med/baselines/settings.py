"""Settings that do not fit."""

from __future__ import annotations

from mose_med.errors import ConfigError

__all__ = ["require"]


def require(fits: bool, message: str) -> None:
    """Refuse a setting that does not fit.

    Raises:
        ConfigError: with the message.
    """
    if not fits:
        raise ConfigError(message)
