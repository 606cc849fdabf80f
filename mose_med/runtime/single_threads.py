"""Threads that each work on parts of their own, with one thread inside every operation.

An operation on a small part is too small to be split: threads that meet at the end of every operation wait more than
they compute, above all when the machine is shared. PyTorch releases the interpreter's lock inside its operations, so
Python threads suffice.
"""

from __future__ import annotations

import os
import threading
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from typing import TypeVar

import torch

__all__ = ["share", "single_threads"]

_Item = TypeVar("_Item")

_pools: dict[int, ThreadPoolExecutor] = {}
_starting = threading.Lock()


def share(drain: Callable[[Iterator[_Item]], None], items: Sequence[_Item], threads: int) -> None:
    """Call ``drain`` in ``threads`` threads at once; every item reaches exactly one of the calls.

    Args:
        drain: takes items until there are none, without gradients and autocast; it may not call this function
            with several threads.
        items: the next goes to the first free thread.
        threads: with 1, or a single item, the calling thread does everything.
    """
    left = deque(items)
    threads = min(threads, len(left))
    if threads <= 1:
        drain(_taken(left))
        return
    inference = torch.is_inference_mode_enabled()

    def work() -> None:
        with torch.inference_mode(inference), torch.no_grad():
            drain(_taken(left))

    pool = single_threads(threads)
    calls = [pool.submit(work) for _ in range(threads)]
    wait(calls)
    for call in calls:
        call.result()


def _taken(left: deque[_Item]) -> Iterator[_Item]:
    while True:
        try:
            yield left.popleft()
        except IndexError:
            return


def single_threads(threads: int) -> ThreadPoolExecutor:
    """The pool of so many threads; each has one thread inside its operations, and so never waits for another."""
    with _starting:
        if threads not in _pools:
            with ThreadPoolExecutor(1) as starter:
                _pools[threads] = starter.submit(_started, threads).result()
        return _pools[threads]


def _started(threads: int) -> ThreadPoolExecutor:
    """Pool whose threads all run and have their number of threads; call it in a thread without such a number.

    :func:`torch.set_num_threads` sets the calling thread's number and the default of threads yet to come. A thread
    that never set one reads the default and can set it again, and no other thread's number is touched.
    """
    default = torch.get_num_threads()
    all_run = threading.Barrier(threads + 1)
    pool = ThreadPoolExecutor(threads, thread_name_prefix="single", initializer=_one_thread)
    for _ in range(threads):
        pool.submit(all_run.wait)
    all_run.wait()
    torch.set_num_threads(default)
    return pool


def _one_thread() -> None:
    torch.get_num_threads()  # a thread's first look at its number overwrites it with the default
    torch.set_num_threads(1)


def _forget_pools() -> None:
    """A forked process has none of its parent's threads."""
    global _starting
    _starting = threading.Lock()
    _pools.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_pools)
