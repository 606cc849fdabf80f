"""Chooses the number of workers and their devices."""

from __future__ import annotations

import logging
import os

from pipelines.infer.cohort.options import CohortOptions
from pipelines.infer.cohort.workers.engine import Engine
from pipelines.infer.cohort.workers.local import LocalEngine
from pipelines.infer.cohort.workers.messages import WorkerSetup

__all__ = ["choose_engine"]

_LOGGER = logging.getLogger(__name__)


def choose_engine(options: CohortOptions, setup: WorkerSetup, devices: list[str], num_cases: int) -> tuple[Engine, int]:
    """The engine that the options name, and how many workers it is to have.

    Args:
        options: of the run.
        setup: of every worker.
        devices: of this machine, for local workers.
        num_cases: of the run.

    Raises:
        ConfigError: if the cluster is not there.
        MissingDependencyError: if Ray is not installed.
    """
    if options.engine == "ray":
        from pipelines.infer.cohort.workers.ray_engine import RayEngine

        engine = RayEngine(setup, options.ray_address, options.gpu_share, options.workers)
        return engine, _log_workers(engine.device, min(engine.capacity, num_cases), setup)
    on_gpu = devices[0] != "cpu"
    room = len(devices) if on_gpu else max(1, len(os.sched_getaffinity(0)) // options.threads)
    return LocalEngine(setup, devices), _log_workers(", ".join(devices), min(options.workers or room, num_cases), setup)


def _log_workers(device: str, num_workers: int, setup: WorkerSetup) -> int:
    """The number of workers, which is logged with their device."""
    _LOGGER.info("device: %s, workers: %d, threads of each: %d", device, num_workers, setup.threads)
    return num_workers
