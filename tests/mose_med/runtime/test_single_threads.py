"""Threads that have one thread inside every operation."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest
import torch

from mose_med.runtime.single_threads import share


@pytest.fixture(autouse=True)
def threads_as_before() -> Iterator[None]:
    threads = torch.get_num_threads()
    yield
    torch.set_num_threads(threads)


def test_operations_of_the_pool_have_one_thread_and_others_keep_theirs():
    torch.set_num_threads(5)
    found: list[int] = []
    share(lambda items: found.extend(torch.get_num_threads() for _ in items), range(9), threads=4)
    later = threading.Thread(target=lambda: found.append(torch.get_num_threads()))
    later.start()
    later.join()
    assert found == [1] * 9 + [5]
    assert torch.get_num_threads() == 5


def test_every_item_is_taken_once():
    taken: list[int] = []
    share(taken.extend, range(1000), threads=3)
    assert sorted(taken) == list(range(1000))


def test_an_error_reaches_the_caller():
    def fail(items: Iterator[int]) -> None:
        raise RuntimeError(f"item {next(items)}")

    with pytest.raises(RuntimeError, match="item 0"):
        share(fail, [0, 0], threads=2)
