"""The MLflow store that ``--tracking-uri`` or the environment names."""

from __future__ import annotations

import os

__all__ = ["VARIABLE", "named_store"]

#: Environment variable of MLflow; the option takes precedence.
VARIABLE = "MLFLOW_TRACKING_URI"


def named_store(option: str | None) -> str | None:
    """The option, or what the environment says; None if neither names a store."""
    return option or os.environ.get(VARIABLE) or None
