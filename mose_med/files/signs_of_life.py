"""Files by which a run shows that it is there, and whose they are.

A sign records host, process and start of a run. It is touched every 15 s, and locked with ``flock`` where the file
system can. On the machine of the run, ``flock`` or the table of processes says whether the run is there or gone. On
another machine the time of the sign decides: a run that has not touched it for two minutes is *silent*. It may be gone,
or only cut off, so it is never taken for gone.
"""

from __future__ import annotations

import functools
import json
import os
import socket
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

__all__ = ["BEAT_S", "OtherRun", "create_sign", "is_left_behind", "owner_of"]

#: How often a run touches its sign.
BEAT_S = 15.0
_SILENT_S = 120.0


class OtherRun(NamedTuple):
    """A run that is not known to be gone; ``silent_s`` is the time since a silent one was last seen, else 0."""

    host: str
    process: int
    silent_s: float
    sign: Path

    def __str__(self) -> str:
        """The run in words, and what to do if it is gone."""
        who = f"a run on {self.host} (process {self.process})"
        if not self.silent_s:
            return who
        return f"{who}, last seen {self.silent_s / 60:.0f} minutes ago: if it is gone, remove {self.sign}"


def create_sign(path: Path) -> int:
    """Create the sign of this run; return its descriptor, which keeps it locked where possible.

    Raises:
        FileExistsError: if there is such a file.
    """
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o666)
    run = {**_this_run(), "flock": _flock(descriptor, exclusive=True) is True}
    os.write(descriptor, json.dumps(run).encode())
    return descriptor


def owner_of(path: Path, now: float) -> OtherRun | None:
    """The run that created a sign; None if it is gone.

    Args:
        path: of the sign.
        now: seconds since the epoch by the clock of the file system.
    """
    try:
        descriptor = os.open(path, os.O_RDONLY)
    except FileNotFoundError:
        return None
    try:
        run = _read_run(descriptor)
        there = _is_there(descriptor, run)
        unseen_s = 0.0 if there else now - os.fstat(descriptor).st_mtime
    finally:
        os.close(descriptor)
    if there is False:
        return None
    return OtherRun(run["host"], run["process"], unseen_s if unseen_s > _SILENT_S else 0.0, path)


def is_left_behind(path: Path) -> bool:
    """Whether there is a sign of a run that is gone; one that was taken away meanwhile, or replaced, is not."""
    try:
        descriptor = os.open(path, os.O_RDONLY)
    except FileNotFoundError:
        return False
    try:
        gone = _is_there(descriptor, _read_run(descriptor)) is False
        return gone and os.path.samestat(os.fstat(descriptor), path.stat())
    except FileNotFoundError:
        return False
    finally:
        os.close(descriptor)


def _flock(descriptor: int, *, exclusive: bool) -> bool | None:
    """Whether the file could be locked; None if the file system or the operating system has no such locks."""
    try:
        import fcntl

        fcntl.flock(descriptor, fcntl.LOCK_NB | (fcntl.LOCK_EX if exclusive else fcntl.LOCK_SH))
    except BlockingIOError:
        return False
    except (OSError, ImportError):
        return None
    return True


def _this_run() -> dict[str, Any]:
    process = os.getpid()
    return {
        "host": socket.gethostname(),
        "process": process,
        "start": _start_of(process),
        "system": _system(),
        "processes": _processes(),
    }


def _read_run(descriptor: int) -> Mapping[str, Any]:
    """Content of a sign; empty if it was not written yet."""
    try:
        run: Mapping[str, Any] = json.loads(os.read(descriptor, 4096))
    except ValueError:
        return {"host": "an unknown machine", "process": 0}
    return run


def _is_there(descriptor: int, run: Mapping[str, Any]) -> bool | None:
    """Whether a run is there; None if this machine cannot tell."""
    free = _flock(descriptor, exclusive=False) if run.get("flock") else None
    if free is False:
        return True
    if free and run["system"] == _system():
        return False
    if _processes() and run.get("processes") == _processes():
        return bool(run["start"] == _start_of(run["process"]))
    return None


@functools.cache
def _system() -> str:
    """Identity of the running kernel."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
    except OSError:
        return socket.gethostname()


@functools.cache
def _processes() -> str:
    """Identity of the table of processes; empty if unknown."""
    try:
        return f"{_system()} {Path('/proc/self/ns/pid').readlink()}"
    except OSError:
        return ""


def _start_of(process: int) -> str | None:
    """When a process began, in ticks of the kernel; None if there is none."""
    try:
        state, *fields = Path(f"/proc/{process}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()
    except OSError:
        return None
    return None if state in "ZX" else fields[18]
