"""Which device a command computes on."""

from __future__ import annotations

import re

import torch

from mose_med.errors import ConfigError

__all__ = ["choose_device", "local_devices"]


def choose_device(name: str) -> torch.device:
    """Device of a ``--device`` option.

    Args:
        name: ``auto`` (a GPU if there is one), ``cpu``, ``cuda`` or ``cuda:N``.

    Raises:
        ConfigError: if the name is another one or the device is not there.
    """
    if not re.fullmatch(r"auto|cpu|cuda(:\d+)?", name):
        raise ConfigError(f"device must be auto, cpu, cuda or cuda:N, got {name!r}")
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    device = torch.device(name)
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        raise ConfigError(f"device {name} is not there: use cpu or auto")
    return device


def local_devices(name: str) -> list[str]:
    """Devices of a ``--device`` option: every GPU of the machine where it names none in particular.

    Raises:
        ConfigError: if the device is not there.

    Example:
        >>> local_devices("cpu")
        ['cpu']
    """
    device = choose_device(name)
    if device.type == "cpu" or device.index is not None:
        return [str(device)]
    return [f"cuda:{index}" for index in range(torch.cuda.device_count())]
