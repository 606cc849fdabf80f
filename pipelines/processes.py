"""How a process begins that a command starts beside itself."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading

from pipelines.console import configure_logging

__all__ = ["begin_process"]


def begin_process() -> None:
    """Warn on the terminal, leave interruptions to the process that began this one, and end when that one ends."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    configure_logging(quiet=True, log_file=None, debug=False)
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)
