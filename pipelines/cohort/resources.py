"""How many workers there are, and on which devices."""

from __future__ import annotations

import os

import torch

from pipelines.cohort.engine import Engine
from pipelines.cohort.local import LocalEngine
from pipelines.cohort.options import CohortOptions
from pipelines.cohort.worker import WorkerSetup
from pipelines.device import choose_device

__all__ = ["choose_engine", "local_devices"]


def choose_engine(options: CohortOptions, setup: WorkerSetup, num_cases: int) -> tuple[Engine, int]:
    """The engine that the options name, and how many workers it is to have.

    Raises:
        ConfigError: if the device or the cluster is not there.
        MissingDependencyError: if Ray is not installed.
    """
    if options.engine == "ray":
        from pipelines.cohort.ray_engine import RayEngine

        engine = RayEngine(setup, options.ray_address, options.gpu_share, options.workers)
        return engine, min(engine.capacity, num_cases)
    devices = local_devices(options.device)
    on_gpu = devices[0] != "cpu"
    room = len(devices) if on_gpu else max(1, len(os.sched_getaffinity(0)) // options.threads)
    return LocalEngine(setup, devices), min(options.workers or room, num_cases)


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
