"""Chooses the device of a command."""

from __future__ import annotations

import logging
import re

import torch

from mose_med.errors import ConfigError

__all__ = ["choose_device", "local_devices"]

_LOGGER = logging.getLogger(__name__)


def choose_device(name: str) -> torch.device:
    """Device of a ``--device`` option; says in the log which it is.

    Args:
        name: ``auto`` (a GPU if there is one), ``cpu``, ``cuda`` or ``cuda:N``.

    Raises:
        ConfigError: if the name is another one or the device is not there.
    """
    if not (isinstance(name, str) and re.fullmatch(r"auto|cpu|cuda(:\d+)?", name)):
        raise ConfigError(f"device must be auto, cpu, cuda or cuda:N, got {name!r}")
    wanted = ("cuda" if torch.cuda.is_available() else "cpu") if name == "auto" else name
    device = torch.device(wanted)
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        raise ConfigError(f"device {name} does not exist: use cpu or auto")
    _LOGGER.info("device: %s", _described(device, searched=name == "auto"))
    return device


def _described(device: torch.device, *, searched: bool) -> str:
    if device.type == "cuda":
        return f"{device}, {torch.cuda.get_device_name(device)}"
    return f"cpu, threads: {torch.get_num_threads()}{', no GPU can be used' if searched else ''}"


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
