"""Runs that share a folder, on one machine or on several, and what only one of them may do at a time.

Every run that takes part keeps a sign of life in ``.runs`` of the folder. ``.runs/lock`` is a hard link to the sign of
the run that has the folder for itself for a moment (to claim it, to write tables, to clean up); where there are no hard
links, a file that is created exclusively. Neither needs ``flock``, and both hold across machines.
"""

from __future__ import annotations

import contextlib
import errno
import functools
import logging
import os
import secrets
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Protocol, TypeVar

from mose_med.errors import ConfigError
from mose_med.files.signs_of_life import BEAT_S, OtherRun, create_sign, is_left_behind, owner_of
from mose_med.files.whole_files import require_replaceable

__all__ = ["PLACE_NAME", "RunLock", "alone_in", "only_run", "taking_part"]

#: Folder of the signs, in the folder that is shared.
PLACE_NAME = ".runs"
_LOCK_NAME = "lock"
_BREAKING_NAME = "breaking"
_SUFFIX = ".run"
_LOG_AFTER_S = 2.0
_POLL_S = 0.1
_TRIES = 100
#: Errors of file systems without hard links or exclusive creation.
_UNSUPPORTED = (errno.ENOSYS, errno.ENOTSUP, errno.EOPNOTSUPP, errno.EPERM, errno.EINVAL, errno.EMLINK)
_NOT_WRITABLE = (errno.EACCES, errno.EROFS)

_LOGGER = logging.getLogger(__name__)


class RunLock:
    """A run's part in a folder, made by :func:`taking_part` and :func:`alone_in`.

    Args:
        folder: that is shared; with ``beside``, it may be a file.
        beside: keep the sign in ``.<name>.runs`` beside the folder, since the folder will be replaced.
        kind: what the folder is to the user.

    Raises:
        ConfigError: if the folder is a file.
    """

    def __init__(self, folder: Path, *, beside: bool = False, kind: str = "output folder") -> None:
        if not beside and folder.exists() and not folder.is_dir():
            raise ConfigError(f"{kind} {folder} is a file: name another")
        self.folder = folder
        self._named = f"{kind} {folder}"
        real = folder.resolve()
        self._places = (real / PLACE_NAME, real.with_name(f".{real.name}{PLACE_NAME}"))
        self._place = self._places[beside]
        self._made = [path for path in (self._place, *self._place.parents) if not path.exists()]
        self._sign: Path | None = None
        self._descriptor = -1
        self._copies: dict[Path, int] = {}
        self._left = threading.Event()
        #: Whether locks work on the file system.
        self.can_lock = True

    def join(self, *, alone: bool = False) -> None:
        """Announce this run; not needed if the run may not write into the folder.

        Args:
            alone: refuse to join another run.

        Raises:
            ConfigError: if another run is there, and may not be.
        """
        try:
            self._join(alone)
        except BaseException as error:
            self.leave()
            if not isinstance(error, OSError) or error.errno not in _NOT_WRITABLE:
                raise

    def leave(self) -> None:
        """Remove the sign, and empty folders that were made for it."""
        self._left.set()
        if self._sign is not None:
            os.close(self._descriptor)
            self._sign.unlink(missing_ok=True)
            self._sign = None
        for path in (self._place, *self._made):
            with contextlib.suppress(OSError):
                path.rmdir()

    def others(self) -> list[OtherRun]:
        """Other runs, silent ones last; signs of runs that are gone are removed."""
        files = [file for place in self._places if place.is_dir() for file in place.iterdir() if file != self._sign]
        others = []
        for file in (file for file in files if file.name not in (_LOCK_NAME, _BREAKING_NAME)):
            owner = self._owner(file)
            if owner is None:
                file.unlink(missing_ok=True)
            elif file.suffix == _SUFFIX:
                others.append(owner)
        return sorted(others, key=lambda owner: owner.silent_s)

    @contextmanager
    def locked(self) -> Iterator[bool]:
        """Hold the lock; yield whether certainly no other run is there, silent ones included.

        Raises:
            ConfigError: if a run that is silent has the lock.
        """
        if self._sign is None or not self.can_lock:
            yield False
            return
        lock = self._place / _LOCK_NAME
        self._wait_for(lock)
        try:
            yield not self.others()
        finally:
            self._release(lock)

    @contextmanager
    def leaving(self) -> Iterator[bool]:
        """Hold the lock at the end of a run; yield whether the run is the last, silent ones not counted."""
        with self.locked():
            last = all(other.silent_s for other in self.others())
            if not last and self._sign is not None:
                self._sign.unlink(missing_ok=True)
            yield last
        if not last:
            self.leave()

    def _join(self, alone: bool) -> None:
        token = f"{socket.gethostname()}-{os.getpid()}-{secrets.token_hex(4)}"
        joining, sign = self._place / f".{token}", self._place / f"{token}{_SUFFIX}"
        for _ in range(_TRIES):
            with contextlib.suppress(FileNotFoundError):  # a run that ended removed the empty folder
                self._place.mkdir(parents=True, exist_ok=True)
                self._descriptor = create_sign(joining)
                self._sign = joining
                break
        else:
            raise ConfigError(f"{self._named} cannot be made: name another")
        self._try_lock(self._place / f".{token}.try")
        with self.locked():
            others = self.others()
            if others and alone:
                raise ConfigError(f"{self._named} is in use by {others[0]}")
            joining.rename(sign)
            self._sign = sign
        threading.Thread(target=self._keep_alive, args=(sign,), daemon=True).start()

    def _keep_alive(self, sign: Path) -> None:
        while not self._left.wait(BEAT_S):
            for path in (sign, *self._copies):
                with contextlib.suppress(OSError):
                    os.utime(path)

    def _try_lock(self, lock: Path) -> None:
        """Check that the file system refuses to create the same lock twice; warn if it does not."""
        try:
            self.can_lock = self._take(lock) and not self._take(lock)
        except OSError as error:
            if error.errno not in _UNSUPPORTED:
                raise
            self.can_lock = False
        self._release(lock)
        if not self.can_lock:
            _LOGGER.warning(
                "%s is on a file system without locks: start no other run there at the same time, except "
                "--shard runs, which write separate tables (a later run without --shard writes the tables of all)",
                self.folder,
            )

    def _take(self, lock: Path) -> bool:
        """Whether the lock was acquired."""
        try:
            os.link(self._sign or "", lock)
        except FileExistsError:
            return False
        except OSError as error:
            if error.errno not in _UNSUPPORTED:
                raise
            return self._take_without_link(lock)
        return True

    def _take_without_link(self, lock: Path) -> bool:
        try:
            self._copies[lock] = create_sign(lock)
        except FileExistsError:
            return False
        return True

    def _release(self, lock: Path) -> None:
        """Release a lock, unless it was removed and now belongs to another run."""
        copy = self._copies.pop(lock, None)
        with contextlib.suppress(OSError):
            if os.path.samestat(os.fstat(self._descriptor if copy is None else copy), lock.stat()):
                lock.unlink()
        if copy is not None:
            os.close(copy)

    def _wait_for(self, lock: Path) -> None:
        begun, logged = time.monotonic(), False
        while not self._take(lock):
            owner = self._owner(lock)
            if owner is None:
                self._break(lock)
                continue
            if owner.silent_s:
                raise ConfigError(f"{self._named} is locked by {owner}")
            if not logged and time.monotonic() - begun > _LOG_AFTER_S:
                logged = True
                _LOGGER.info("waiting for %s", owner)
            time.sleep(_POLL_S)

    def _break(self, lock: Path) -> None:
        """Remove the lock of a run that is gone; one run does, or it might remove the next one's.

        A run that releases the lock at this moment looks like one that is gone.
        """
        breaking = lock.with_name(_BREAKING_NAME)
        if not self._take(breaking):
            if is_left_behind(breaking):
                raise ConfigError(f"{self._named} is locked by a run that is gone: remove {breaking}")
            time.sleep(_POLL_S)
            return
        try:
            if is_left_behind(lock):  # no other run can take or release it, so that it stays the same
                lock.unlink(missing_ok=True)
        finally:
            self._release(breaking)

    def _owner(self, file: Path) -> OtherRun | None:
        return owner_of(file, self._now())

    def _now(self) -> float:
        """The time of the file system, which is the same for all machines."""
        if self._sign is None:
            return time.time()
        os.utime(self._descriptor)
        return os.fstat(self._descriptor).st_mtime


@contextmanager
def taking_part(folder: Path, *, beside: bool = False, kind: str = "output folder") -> Iterator[RunLock]:
    """A run's part in a folder that other runs may share; see :class:`RunLock`."""
    lock = RunLock(folder, beside=beside, kind=kind)
    lock.join()
    try:
        yield lock
    finally:
        lock.leave()


@contextmanager
def alone_in(folder: Path, *, beside: bool = False, kind: str = "output folder") -> Iterator[None]:
    """Reserve a folder, so that no other run may write to it; see :class:`RunLock`.

    Raises:
        ConfigError: if another run has it, naming host and process.
    """
    lock = RunLock(folder, beside=beside, kind=kind)
    lock.join(alone=True)
    try:
        yield
    finally:
        lock.leave()


class _HasOutput(Protocol):
    @property
    def output_dir(self) -> Path: ...


_Options = TypeVar("_Options", bound=_HasOutput)
_Result = TypeVar("_Result")


def only_run(*, beside: bool = False) -> Callable[[Callable[[_Options], _Result]], Callable[[_Options], _Result]]:
    """Decorate a command that must be the only run in the output folder of its options; see :func:`alone_in`.

    Args:
        beside: the command builds another folder, which replaces this one.
    """

    def decorate(command: Callable[[_Options], _Result]) -> Callable[[_Options], _Result]:
        @functools.wraps(command)
        def run(options: _Options) -> _Result:
            if beside:
                require_replaceable(options.output_dir)
            with alone_in(options.output_dir, beside=beside):
                return command(options)

        return run

    return decorate
