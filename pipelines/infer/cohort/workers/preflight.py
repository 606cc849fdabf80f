"""What a run must know before it writes anything, determined in a separate process.

That process loads the weights and looks for GPUs, and ends. The run itself never imports PyTorch, and so has room for
very many cases.
"""

from __future__ import annotations

import logging
from multiprocessing.connection import Connection
from pathlib import Path
from typing import NamedTuple

from mose_med.errors import ConfigError, MoseError
from pipelines.common.command_line.console import named_log_file
from pipelines.common.memory import ran_out_of_memory
from pipelines.common.processes import begin_process, spawn_context

__all__ = ["Preflight", "preflight"]

_LOGGER = logging.getLogger(__name__)


class Preflight(NamedTuple):
    """Hash of the weights, which can be loaded, and the devices that workers take in turn."""

    weights_sha256: str
    devices: list[str]


def preflight(checkpoint: Path, device: str, limit_s: float) -> Preflight:
    """Load the weights once and find the devices.

    Args:
        checkpoint: weights.
        device: as ``--device``; every GPU of the machine where it names none in particular.
        limit_s: time that this may take.

    Raises:
        ConfigError: if there is no such checkpoint or device, or loading does not end.
        DataError: if the checkpoint is damaged.
    """
    ours, theirs = spawn_context().Pipe(duplex=False)
    process = spawn_context().Process(target=_answer, args=(theirs, checkpoint, device, named_log_file()), daemon=True)
    process.start()
    theirs.close()
    try:
        if not ours.poll(limit_s):
            raise ConfigError(f"checkpoint {checkpoint} was not loaded within {limit_s:g} s: check its storage")
        answer = ours.recv()
    except EOFError as error:
        process.join()
        raise ConfigError(f"checkpoint {checkpoint}: the process that loaded it ended ({process.exitcode})") from error
    finally:
        process.kill()
        process.join()
        ours.close()
    if isinstance(answer, Exception):
        raise answer
    found: Preflight = answer
    return found


def _answer(pipe: Connection, checkpoint: Path, device: str, log_file: Path | None) -> None:
    begin_process(log_file=log_file)
    from mose_med.api.model import load_model
    from mose_med.runtime.device import local_devices

    try:
        pipe.send(Preflight(load_model(checkpoint, "cpu").weights_sha256, local_devices(device)))
    except MoseError as error:
        pipe.send(error)
    except Exception as error:
        if not ran_out_of_memory(error):
            _LOGGER.exception("the weights could not be checked")
        # Errors of other packages may not survive the pipe; their text does.
        pipe.send((MemoryError if ran_out_of_memory(error) else RuntimeError)(f"{type(error).__name__}: {error}"))
