"""The scheduler against an engine that does as it is told, without processes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mose_med.errors import ConfigError
from pipelines.infer.cohort.failures import Failure
from pipelines.infer.cohort.finding.entries import Entry
from pipelines.infer.cohort.workers.engine import Done, Engine, Event, Lost, Ready, Worker
from pipelines.infer.cohort.workers.messages import describe_start_error
from pipelines.infer.cohort.workers.scheduler import Scheduler


class ScriptedWorker(Worker):
    """Holds cases until its engine decides what becomes of them."""

    def __init__(self) -> None:
        self.cases: dict[int, Entry] = {}
        self.ready = self.killed = self.loads_for_ever = False

    def begin(self, number, entry):
        assert self.ready
        assert not self.killed
        self.cases[number] = entry

    def hung(self, limit_s):
        return {number: "read" for number, entry in self.cases.items() if entry.name.startswith("hangs")}

    def loading_s(self):
        return 100.0 if self.loads_for_ever else 0.0

    def stage(self, number):
        return "infer"

    def kill(self):
        self.killed = True


class ScriptedEngine(Engine):
    """Ends a worker when ``deadly`` says so of one of its cases, and else does one case a worker and step.

    The workers whose place in the order of starts is in ``stuck`` never have their model.
    """

    def __init__(
        self,
        deadly: Callable[[Entry, int], bool] = lambda entry, given: False,
        refuse: str = "",
        stuck: Collection[int] = (),
    ) -> None:
        self.deadly, self.refuse, self.stuck = deadly, refuse, stuck
        self.workers: list[ScriptedWorker] = []
        self.given: Counter[str] = Counter()
        self.most_in_flight = 0

    def start(self):
        self.workers.append(ScriptedWorker())
        self.workers[-1].loads_for_ever = len(self.workers) - 1 in self.stuck
        return self.workers[-1]

    def wait(self, timeout_s) -> list[Event]:
        return [event for worker in self.workers if not worker.killed for event in self._step(worker)]

    def _step(self, worker: ScriptedWorker) -> list[Event]:
        if self.refuse:
            return [Lost(worker, self.refuse, refused=True)]
        if worker.loads_for_ever:
            return []
        if not worker.ready:
            worker.ready = True
            return [Ready(worker)]
        self.most_in_flight = max(self.most_in_flight, len(worker.cases))
        for entry in worker.cases.values():
            self.given[entry.name] += 1
        if any(self.deadly(entry, self.given[entry.name]) for entry in worker.cases.values()):
            return [Lost(worker, "signal 9")]
        number = next((n for n, entry in worker.cases.items() if not entry.name.startswith("hangs")), None)
        return [] if number is None else [Done(worker, number, worker.cases.pop(number).name)]

    def close(self):
        for worker in self.workers:
            worker.kill()


def entries(*names: str) -> list[Entry]:
    return [Entry(name, name) for name in names]


def run(engine: ScriptedEngine, *names: str, workers: int = 2, in_flight: int = 3) -> dict[str, object]:
    scheduler = Scheduler(engine, num_workers=workers, in_flight=in_flight, case_timeout_s=1.0, start_timeout_s=60.0)
    finished = list(scheduler.run(iter(entries(*names))))
    assert len({entry for entry, _ in finished}) == len(finished) == len(names)
    return {entry.name: report for entry, report in finished}


def test_cases_may_come_while_others_are_worked_on():
    coming = iter([None, *entries("a"), None, None, *entries("b"), None])
    scheduler = Scheduler(ScriptedEngine(), num_workers=2, in_flight=1, case_timeout_s=1.0, start_timeout_s=60.0)
    assert [entry.name for entry, _ in scheduler.run(coming)] == ["a", "b"]


def test_every_case_is_done_once_within_the_bounds():
    engine = ScriptedEngine()
    names = [f"case {n}" for n in range(20)]
    assert run(engine, *names, workers=3, in_flight=2) == {name: name for name in names}
    assert len(engine.workers) == 3
    assert engine.most_in_flight <= 2


def test_a_deadly_case_is_found_out_and_its_companions_are_done():
    engine = ScriptedEngine(deadly=lambda entry, given: entry.name == "bad")
    reports = run(engine, *(f"case {n}" for n in range(7)), "bad", *(f"late {n}" for n in range(3)))
    failure = reports.pop("bad")
    assert isinstance(failure, Failure)
    assert (failure.stage, failure.reason) == ("infer", "the worker ended: signal 9")
    assert all(report == name for name, report in reports.items())


def test_a_worker_lost_by_chance_costs_no_case():
    engine = ScriptedEngine(deadly=lambda entry, given: given == 1 and entry.name in ("case 2", "case 5"))
    names = [f"case {n}" for n in range(8)]
    assert run(engine, *names) == {name: name for name in names}


def test_a_hung_case_is_given_up_and_its_companions_are_done():
    reports = run(ScriptedEngine(), "case 0", "hangs", "case 1", "case 2", workers=1)
    failure = reports.pop("hangs")
    assert (failure.stage, failure.reason) == ("read", "the case was not finished within 1 s")
    assert reports == {name: name for name in ("case 0", "case 1", "case 2")}


def test_workers_that_cannot_start_end_the_run_with_their_reason():
    engine = ScriptedEngine(refuse="checkpoint x is damaged")
    with pytest.raises(ConfigError, match="workers cannot start: checkpoint x is damaged"):
        run(engine, "case")
    assert all(worker.killed for worker in engine.workers)


def test_workers_that_cannot_start_by_a_fault_of_ours_are_told_as_one():
    with pytest.raises(RuntimeError, match="workers cannot start: KeyError: 'x'"):
        run(ScriptedEngine(refuse=describe_start_error(KeyError("x"))), "case")


def test_a_worker_that_never_has_its_model_is_started_again():
    engine = ScriptedEngine(stuck={0, 1})
    names = [f"case {n}" for n in range(4)]
    assert run(engine, *names, workers=1) == {name: name for name in names}
    assert [worker.killed for worker in engine.workers] == [True] * 3


def test_workers_that_never_have_their_model_end_the_run():
    with pytest.raises(ConfigError, match="workers cannot start: the model was not loaded within 60 s"):
        run(ScriptedEngine(stuck=range(100)), "case")


def test_where_one_place_stays_empty_the_others_go_on():
    engine = ScriptedEngine(stuck=range(1, 100))
    names = [f"case {n}" for n in range(20)]
    assert run(engine, *names, workers=2) == {name: name for name in names}
    assert len(engine.workers) == 4


@settings(max_examples=60, deadline=None)
@given(
    kinds=st.lists(st.sampled_from(["case", "deadly", "chance", "hangs"]), max_size=12),
    workers=st.integers(1, 4),
    in_flight=st.integers(1, 3),
)
def test_whatever_happens_every_case_comes_to_an_end_once(kinds, workers, in_flight):
    engine = ScriptedEngine(
        deadly=lambda entry, given: entry.name.startswith("deadly") or (entry.name.startswith("chance") and given == 1)
    )
    reports = run(engine, *(f"{kind} {n}" for n, kind in enumerate(kinds)), workers=workers, in_flight=in_flight)
    for name, report in reports.items():
        assert isinstance(report, Failure) == name.startswith(("deadly", "hangs"))
