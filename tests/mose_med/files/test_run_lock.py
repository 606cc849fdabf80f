"""Runs that share a folder: in this process, in others, and, by signs with other hosts, on other machines."""

from __future__ import annotations

import errno
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from mose_med.errors import ConfigError
from mose_med.files import signs_of_life
from mose_med.files.run_lock import alone_in, taking_part

#: Takes part in a folder, or has its lock, says so and waits to be killed.
HOLDER = """
import contextlib, sys, time
from pathlib import Path
from mose_med.files.run_lock import taking_part
with taking_part(Path(sys.argv[1])) as part, part.locked() if sys.argv[2] == "locked" else contextlib.nullcontext():
    print("here", flush=True)
    time.sleep(60)
"""


@pytest.fixture
def start(tmp_path: Path):
    """Function that starts a process which takes part in ``out``."""
    processes = []

    def begin(how: str = "shared") -> subprocess.Popen[str]:
        command = [sys.executable, "-c", HOLDER, str(tmp_path / "out"), how]
        process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        processes.append(process)
        assert process.stdout is not None
        assert process.stdout.readline() == "here\n"
        return process

    yield begin
    for process in processes:
        process.kill()
        process.wait()
        process.stdout.close()


@pytest.fixture(params=["all", "no flock", "no links", "neither"])
def file_system(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """File systems that can all, no ``flock``, no hard links, or neither."""

    def missing(*_: object) -> None:
        raise OSError(errno.ENOSYS, "Function not implemented")

    if request.param in ("no flock", "neither"):
        monkeypatch.setattr("fcntl.flock", missing)
    if request.param in ("no links", "neither"):
        monkeypatch.setattr("os.link", missing)
    return request.param


def killed(process: subprocess.Popen[str]) -> None:
    process.send_signal(signal.SIGKILL)
    process.wait()


def elsewhere(folder: Path, *, seen_s_ago: float, **told: Any) -> Path:
    """The sign of a run on another machine."""
    sign = folder / ".runs" / "node7-12-abc.run"
    sign.parent.mkdir(parents=True, exist_ok=True)
    sign.write_text(json.dumps({"host": "node7", "process": 12, "start": "1", "system": "x", "processes": "x", **told}))
    moment = time.time() - seen_s_ago
    os.utime(sign, (moment, moment))
    return sign


def test_runs_see_each_other_and_leave_nothing(file_system: str, tmp_path: Path):
    with taking_part(tmp_path / "a" / "out") as first, taking_part(tmp_path / "a" / "out") as second:
        assert [len(part.others()) for part in (first, second)] == [1, 1]
        assert first.others()[0].process == os.getpid()
    assert list(tmp_path.iterdir()) == []


def test_a_run_of_another_process_is_seen_until_it_is_killed(file_system: str, start, tmp_path: Path):
    process = start()
    with taking_part(tmp_path / "out") as part:
        assert [other.process for other in part.others()] == [process.pid]
        killed(process)
        assert part.others() == []
    assert list((tmp_path / "out").iterdir()) == []


def test_one_run_that_must_be_alone_is_let_in(file_system: str, start, tmp_path: Path):
    process = start()
    with pytest.raises(ConfigError, match=rf"out is in use by a run on .* \(process {process.pid}\)$"):  # noqa: SIM117
        with alone_in(tmp_path / "out"):
            pass
    killed(process)
    with alone_in(tmp_path / "out"):
        pass
    assert list((tmp_path / "out").iterdir()) == []


def test_a_folder_that_is_replaced_has_its_signs_beside_it(tmp_path: Path):
    with alone_in(tmp_path / "out", beside=True):
        assert [path.name for path in tmp_path.iterdir()] == [".out.runs"]
        with taking_part(tmp_path / "out") as part:
            assert len(part.others()) == 1
    assert list(tmp_path.iterdir()) == []


def test_the_lock_is_had_by_one_at_a_time(file_system: str, tmp_path: Path):
    command = """
import sys
from pathlib import Path
from mose_med.files.run_lock import taking_part
count = Path(sys.argv[1]) / "count"
with taking_part(count.parent) as part:
    for _ in range(20):
        with part.locked():
            value = int(count.read_text())
            count.write_text(str(value + 1))
"""
    (tmp_path / "count").write_text("0")
    patch = {"no flock": "fcntl.flock", "no links": "os.link"}
    lines = ["import errno, fcntl, os", "def missing(*_): raise OSError(errno.ENOSYS, '')"]
    lines += [f"{name} = missing" for what, name in patch.items() if file_system in (what, "neither")]
    program = "\n".join([*lines, command])
    processes = [subprocess.Popen([sys.executable, "-c", program, str(tmp_path)]) for _ in range(3)]
    assert [process.wait() for process in processes] == [0, 0, 0]
    assert (tmp_path / "count").read_text() == "60"


@pytest.mark.parametrize("file_system", ["no links"], indirect=True)
def test_a_lock_that_is_released_while_it_is_looked_at_is_not_broken(
    file_system: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
):
    is_there = signs_of_life._is_there
    with taking_part(tmp_path) as first, taking_part(tmp_path) as second:
        lock = tmp_path / ".runs" / "lock"
        looks: list[int] = []

        def look(descriptor: int, run: Any) -> bool | None:
            if lock.exists() and os.path.samestat(os.fstat(descriptor), lock.stat()):
                looks.append(lock.stat().st_ino)
                first._release(lock)
                if len(looks) <= 2:  # and is taken again, as by a third run
                    assert first._take(lock)
            return is_there(descriptor, run)

        assert first._take(lock)
        monkeypatch.setattr(signs_of_life, "_is_there", look)
        with second.locked():
            assert len(looks) == 3
            assert not first._copies


def test_the_lock_of_a_killed_run_is_taken_over(file_system: str, start, tmp_path: Path):
    killed(start("locked"))
    with taking_part(tmp_path / "out") as part, part.locked():
        assert (tmp_path / "out" / ".runs" / "lock").is_file()
    assert list((tmp_path / "out").iterdir()) == []


def test_a_run_elsewhere_that_is_silent_is_never_taken_for_gone(tmp_path: Path):
    sign = elsewhere(tmp_path, seen_s_ago=300)
    with taking_part(tmp_path) as part:
        assert str(part.others()[0]) == (
            f"a run on node7 (process 12), last seen 5 minutes ago: if it is gone, remove {sign}"
        )
        with part.leaving() as last:
            assert last
    assert sign.exists()
    with pytest.raises(ConfigError, match=r"in use by a run on node7 .* if it is gone, remove"):  # noqa: SIM117
        with alone_in(tmp_path):
            pass


def test_a_run_elsewhere_that_was_seen_is_there(tmp_path: Path):
    elsewhere(tmp_path, seen_s_ago=30)
    with taking_part(tmp_path) as part:
        assert str(part.others()[0]) == "a run on node7 (process 12)"
        with part.leaving() as last:
            assert not last


def test_a_lock_of_a_silent_run_is_named_and_stays(tmp_path: Path):
    lock = elsewhere(tmp_path, seen_s_ago=300).rename(tmp_path / ".runs" / "lock")
    with pytest.raises(ConfigError, match=rf"is locked by a run on node7 .*: if it is gone, remove {lock}"):  # noqa: SIM117
        with taking_part(tmp_path):
            pass
    assert lock.exists()


def test_a_process_of_another_start_is_another_run(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    """Numbers of processes are used again."""
    from mose_med.files import signs_of_life

    told = signs_of_life._this_run() | {"start": "1"}
    elsewhere(tmp_path, seen_s_ago=0, **told)
    with taking_part(tmp_path) as part:
        assert part.others() == []


@pytest.mark.parametrize("order", [(0, 1), (1, 0)])
def test_of_two_runs_the_one_that_is_done_later_is_the_last(order: tuple[int, int], tmp_path: Path):
    found = []
    with taking_part(tmp_path) as first, taking_part(tmp_path) as second:
        for number in order:
            with (first, second)[number].leaving() as last:
                found.append(last)
    assert found == [False, True]


def test_a_file_system_that_cannot_lock_is_told_in_one_line(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, tmp_path: Path
):
    create: Callable[..., int] = os.open

    def never_refuses(path: str, flags: int, mode: int = 0o777, **named: Any) -> int:
        return create(path, flags & ~os.O_EXCL, mode, **named)

    def missing(*_: object) -> None:
        raise OSError(errno.EPERM, "Operation not permitted")

    monkeypatch.setattr("os.link", missing)
    monkeypatch.setattr("os.open", never_refuses)
    with taking_part(tmp_path / "out") as part:
        assert not part.can_lock
    (line,) = caplog.messages
    assert line.startswith(f"{tmp_path / 'out'} is on a file system without locks: start no other run there")


def test_a_folder_that_may_only_be_read_needs_no_sign(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    def refused(*_: object) -> None:
        raise OSError(errno.EROFS, "Read-only file system")

    monkeypatch.setattr("mose_med.files.run_lock.create_sign", refused)
    with taking_part(tmp_path) as part, part.locked():
        assert part.others() == []
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_cannot_be_made_is_named():
    with (
        pytest.raises(ConfigError, match="output folder /proc/x cannot be made: name another"),
        taking_part(Path("/proc/x")),
    ):
        pass
