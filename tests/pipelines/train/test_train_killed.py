"""``kill -9`` at any moment, then the same command: the weights of a training that nothing has stopped."""

from __future__ import annotations

import multiprocessing
import os
import signal
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from mose_med.checkpoint import read_checkpoint
from pipelines.train.run import TrainOptions, train
from tests.fixtures.killed_training import train_and_die, train_and_wait, train_in_little_room

CONTEXT = multiprocessing.get_context("forkserver")
EPOCHS = 20


@pytest.fixture(scope="module", autouse=True)
def _imports_once() -> None:
    CONTEXT.set_forkserver_preload(["pipelines.train.run"])


@pytest.fixture
def options(tiny_datalist: Path, tiny_overlay: Path, tmp_path: Path) -> TrainOptions:
    overlays = (str(tiny_overlay), "ema", "amp", "plateau", "standard_form")
    folder = tmp_path / "killed"
    return TrainOptions(tiny_datalist, folder, overlays, max_epochs=EPOCHS, device="cpu", threads=1, quiet=True)


def exit_code(target: Callable[..., Any], *arguments: Any) -> int | None:
    """Of a process that runs ``target``."""
    process = CONTEXT.Process(target=target, args=arguments)
    process.start()
    process.join()
    return process.exitcode


def assert_as_if_never_stopped(options: TrainOptions) -> None:
    whole = replace(options, output_dir=options.output_dir.with_name("whole"))
    assert exit_code(train, whole) == exit_code(train, options) == 0
    expected, found = (read_checkpoint(each.output_dir / "last.pt") for each in (whole, options))
    for kind in ("model", "ema"):
        torch.testing.assert_close(getattr(found, kind), getattr(expected, kind), rtol=0, atol=0)
    names = ("annealing", "scheduler", "metrics", "epoch")
    assert [getattr(found, name) for name in names] == [getattr(expected, name) for name in names]
    torch.testing.assert_close(found.optimizer, expected.optimizer, rtol=0, atol=0)
    assert not list(options.output_dir.glob(".*.tmp"))


def test_killed_in_the_middle_of_checkpoints(options: TrainOptions):
    for write in (1, 2, 3, 4):
        assert exit_code(train_and_die, options, write) == -signal.SIGKILL
    assert_as_if_never_stopped(options)


def test_killed_after_each_of_several_epochs(options: TrainOptions):
    reached = 0
    for _ in range(3):
        # It waits some epochs later, so that it has not ended before it is killed.
        process = CONTEXT.Process(target=train_and_wait, args=(options, 5))
        process.start()
        reached = epoch_after(options.output_dir / "last.pt", reached)
        os.kill(process.pid, signal.SIGKILL)
        process.join()
        assert process.exitcode == -signal.SIGKILL
    assert reached < EPOCHS
    assert_as_if_never_stopped(options)


def epoch_after(path: Path, epoch: int) -> int:
    """Wait for a checkpoint of a later epoch, and return it."""
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        if path.is_file() and (found := read_checkpoint(path).epoch) > epoch:
            return found
        time.sleep(0.001)
    pytest.fail(f"no epoch after {epoch} within a minute")


def test_a_full_disk_is_named_and_the_training_can_go_on(options: TrainOptions):
    assert exit_code(train_and_die, options, 3) == -signal.SIGKILL
    before = read_checkpoint(options.output_dir / "last.pt").epoch
    assert exit_code(train_in_little_room, options, 20_000) == 7
    assert read_checkpoint(options.output_dir / "last.pt").epoch == before
    assert_as_if_never_stopped(options)
