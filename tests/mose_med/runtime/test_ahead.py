from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest

from mose_med.runtime.ahead import ahead


def test_two_items_are_worked_on_at_once_and_come_in_order():
    together = threading.Barrier(2)

    def meet(item: int) -> int:
        together.wait(timeout=60)
        return -item

    assert list(ahead(meet, range(6), threads=2)) == [0, -1, -2, -3, -4, -5]


def test_no_more_items_are_taken_than_threads_are_ahead():
    taken: list[int] = []

    def items() -> Iterator[int]:
        for item in range(10):
            taken.append(item)
            yield item

    results = ahead(abs, items(), threads=2)
    assert next(results) == 0
    assert taken == [0, 1, 2]
    results.close()


def test_an_error_comes_in_its_turn():
    results = ahead(lambda item: 1 // item, [1, 0, 2], threads=2)
    assert next(results) == 1
    with pytest.raises(ZeroDivisionError, match="division"):
        next(results)
