"""How a command ends on request: by Ctrl-C, or by SIGTERM, as SLURM, Docker and Kubernetes send it."""

from __future__ import annotations

import math
import multiprocessing
import multiprocessing.process
import signal
import threading
import time
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from types import FrameType

__all__ = ["Terminated", "end_children", "ended_by_signals", "handlers_kept"]

#: Time after a signal in which further ones are taken for the same: terminals and schedulers send several, to every
#: process of a group, and the tidying up must not be interrupted.
_SAME_S = 5.0
_SIGNALS = (signal.SIGINT, signal.SIGTERM)


class Terminated(KeyboardInterrupt):
    """The command was ended by SIGTERM; cleanup runs as after an interruption."""


@contextmanager
def ended_by_signals() -> Iterator[None]:
    """Raise KeyboardInterrupt on SIGINT and Terminated on SIGTERM, in the main thread; elsewhere, change nothing."""
    ended_at = -math.inf

    def end(number: int, _frame: FrameType | None) -> None:
        nonlocal ended_at
        if time.monotonic() - ended_at > _SAME_S:
            ended_at = time.monotonic()
            raise Terminated if number == signal.SIGTERM else KeyboardInterrupt

    with handlers_kept() as in_main_thread:
        for number in _SIGNALS if in_main_thread else ():
            if signal.getsignal(number) is not signal.SIG_IGN:
                signal.signal(number, end)
        yield


@contextmanager
def handlers_kept() -> Iterator[bool]:
    """Put the handlers of signals back afterwards; whether this is the main thread, which alone can set them."""
    in_main_thread = threading.current_thread() is threading.main_thread()
    before = {number: signal.getsignal(number) for number in _SIGNALS}
    try:
        yield in_main_thread
    finally:
        for number, handler in before.items() if in_main_thread else ():
            signal.signal(number, handler)


def end_children(but: Collection[multiprocessing.process.BaseProcess] = ()) -> None:
    """Kill processes that this one has begun and not ended."""
    for child in multiprocessing.active_children():
        if child not in but:
            child.kill()
