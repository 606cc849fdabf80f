"""How MLflow behaves in a command, unless the environment says otherwise."""

from __future__ import annotations

import os

__all__ = ["calm_mlflow"]

_DEFAULTS = {
    "MLFLOW_DISABLE_TELEMETRY": "true",  # it reports to its makers over the internet
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "2",  # a server that is gone is tried again for seconds, not minutes
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "30",
    "MLFLOW_LOGGING_LEVEL": "ERROR",
}


def calm_mlflow() -> None:
    """Set MLflow's environment variables where they are not set. Call it before anything imports MLflow."""
    for name, value in _DEFAULTS.items():
        os.environ.setdefault(name, value)
