from __future__ import annotations

import signal
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

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


def test_an_interrupt_waits_for_what_was_begun():
    begun, interrupted, ended = threading.Event(), threading.Event(), []

    def work(item: int) -> int:
        begun.set()
        interrupted.wait(timeout=60)
        time.sleep(0.2)
        ended.append(item)
        return item

    def interrupt() -> None:
        begun.wait(timeout=60)
        time.sleep(0.1)
        signal.pthread_kill(threading.main_thread().ident, signal.SIGINT)
        time.sleep(0.1)
        interrupted.set()

    threading.Thread(target=interrupt).start()
    with pytest.raises(KeyboardInterrupt):
        list(ahead(work, range(9), threads=1))
    assert len(ended) == 1


def test_an_error_comes_in_its_turn():
    results = ahead(lambda item: 1 // item, [1, 0, 2], threads=2)
    assert next(results) == 1
    with pytest.raises(ZeroDivisionError, match="division"):
        next(results)


def test_a_pool_of_the_caller_is_left_without_work():
    begun, go_on, ended = threading.Event(), threading.Event(), []

    def work(item: int) -> int:
        if item == 2:
            begun.set()
            go_on.wait(timeout=60)
        ended.append(item)
        return item

    with ThreadPoolExecutor(1) as pool:
        results = ahead(work, range(9), threads=3, pool=pool)
        assert next(results) == 0
        assert begun.wait(timeout=60)
        threading.Timer(0.05, go_on.set).start()
        results.close()
        assert ended == [0, 1, 2]
        assert pool.submit(abs, -1).result(timeout=60) == 1


@pytest.mark.parametrize("pool", ["None", "ThreadPoolExecutor(2)"])
def test_what_is_left_undone_may_be_collected_by_a_thread_that_works_on_it(pool: str):
    """The collector runs in any thread; the process would wait for itself, and never end."""
    program = f"""
        import threading
        from concurrent.futures import ThreadPoolExecutor
        from mose_med.runtime.ahead import ahead

        let_go = threading.Event()

        def work(item):
            if item == 1:
                let_go.wait()
                results.clear()
            return item

        results = [ahead(work, range(3), 2, {pool})]
        next(results[0])
        let_go.set()
    """
    done = subprocess.run([sys.executable, "-c", textwrap.dedent(program)], timeout=30, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
