"""How a process begins that a command starts beside itself.

No Python that a command starts, itself or through a library, takes modules from the current folder: a user's folder may
hold a ``torch.py``.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import tempfile
import threading
from pathlib import Path

__all__ = ["begin_process", "keep_current_folder_out", "rank_and_count", "spawn_context", "wait_without_spinning"]

#: How long a thread of OpenMP looks for work before it sleeps, by the variable that each of its libraries reads: GNU's,
#: which PyTorch has, in rounds of a few ns, Intel's and LLVM's in ms.
_WAITING = {"GOMP_SPINCOUNT": "2000", "KMP_BLOCKTIME": "0"}


def keep_current_folder_out() -> None:
    """Keep modules of the current folder out of every Python that this process starts from now on."""
    os.environ["PYTHONSAFEPATH"] = "1"


def rank_and_count() -> tuple[int, int]:
    """Rank of this process and the number of processes of torchrun; a process that it did not start is the only one."""
    if "TORCHELASTIC_RUN_ID" not in os.environ:
        return 0, 1
    return int(os.environ["RANK"]), int(os.environ["WORLD_SIZE"])


def wait_without_spinning() -> None:
    """Let threads that wait for each other sleep, here and in every process that is started from now on.

    By default they look for work in a loop for milliseconds, and so keep each other, and every other program, from
    working where there are more of them than cores. What the user set stays. Call it before PyTorch is imported.
    """
    if "OMP_WAIT_POLICY" not in os.environ:
        for name, value in _WAITING.items():
            os.environ.setdefault(name, value)


def spawn_context() -> multiprocessing.context.SpawnContext:
    """The multiprocessing context of this project: each process has a fresh interpreter."""
    keep_current_folder_out()
    return multiprocessing.get_context("spawn")


#: Time after SIGTERM that the process that began this one is given to end it.
_LAST_S = 5.0


def begin_process(scratch: str | None = None, log_file: Path | None = None) -> None:
    """Warn on the terminal, leave interruptions to the process that began this one, and end when that one ends.

    Args:
        scratch: folder for temporary files; who made it removes it, also after this process was killed.
        log_file: that this process also writes to, with others.
    """
    from pipelines.common.command_line.console import ExitCode, configure_logging  # here: it takes long to import

    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, lambda *_: threading.Timer(_LAST_S, os._exit, (ExitCode.TERMINATED,)).start())
    if scratch is not None:
        tempfile.tempdir = scratch
    configure_logging(quiet=True, log_file=log_file, debug=False)
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)
