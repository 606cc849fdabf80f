"""Cost of a case by stage, fitted on measured cases, and the time that workers take for many of them.

A stage's time is a sum of non-negative terms, each proportional to a size of the case (``cohort.py`` records them) or
constant. Two things come on top: the first case of a worker, which pays for what is set up once, and contention, by
which every stage takes longer while another worker shares the memory of the machine.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from scipy.optimize import nnls

STAGES = ("read_s", "infer_s", "write_s")
#: What each quantity depends on; every quantity has a constant besides.
TERMS = {
    "read_s": ("mvoxels",),
    "infer_s": ("mvoxels", "windows", "region_mvoxels", "lesions"),
    "write_s": ("mvoxels", "slab_mvoxels", "region_mvoxels"),
    "output_mb": ("mvoxels", "slab_mvoxels", "region_mvoxels"),
}


class Seconds(NamedTuple):
    """Of the stages of a case."""

    read: float
    infer: float
    write: float


@dataclass(frozen=True)
class Formula:
    """A sum of terms, by the size that each is proportional to."""

    terms: Mapping[str, float]
    condition: float

    def at(self, sizes: Mapping[str, float]) -> float:
        """Value for a case."""
        return sum(value * (1.0 if name == "constant" else sizes[name]) for name, value in self.terms.items())


@dataclass(frozen=True)
class CostModel:
    """What a case costs on one thread.

    Attributes:
        formulas: of seconds of the stages and of megabytes of output.
        first_case_s: what a worker's first case takes longer.
        overhead_s: of a case, beside its stages.
        contention: factor of the stages while two workers share the machine.
    """

    formulas: Mapping[str, Formula]
    first_case_s: float
    overhead_s: float
    contention: float

    def seconds(self, sizes: Mapping[str, float], workers: int = 1) -> Seconds:
        """Stages of a case; what is between cases counts as writing."""
        factor = 1.0 if workers == 1 else self.contention
        read, infer, write = (factor * self.formulas[stage].at(sizes) for stage in STAGES)
        return Seconds(read, infer, write + self.overhead_s)


def fit_formula(cases: Sequence[Mapping[str, float]], values: Sequence[float], terms: Sequence[str]) -> Formula:
    """Least squares without negative terms; ``condition`` is that of the columns brought to one length.

    Example:
        >>> fit_formula([{"windows": 1.0}, {"windows": 3.0}], [3.0, 7.0], ["windows"]).terms
        {'constant': 1.0, 'windows': 2.0}
    """
    matrix = np.array([[1.0, *(case[term] for term in terms)] for case in cases])
    lengths = np.linalg.norm(matrix, axis=0)
    solution, _ = nnls(matrix / lengths, np.asarray(values, dtype=float))
    names = ("constant", *terms)
    condition = float(np.linalg.cond(matrix / lengths))
    return Formula(dict(zip(names, (solution / lengths).round(9).tolist(), strict=True)), condition)


def fit(cohort: Mapping[str, Any]) -> CostModel:
    """Cost model of a measured cohort.

    Formulas, first case and overhead are those of one worker; contention compares the same cases in the runs of two.
    """
    cases = cohort["cases"]
    one, two = (run_of(cohort, workers) for workers in (1, 2))
    values = {stage: one[stage] for stage in STAGES} | {"output_mb": [case["output_mb"] for case in cases]}
    # The first case is left out: it has its own constant.
    formulas = {name: fit_formula(cases[1:], values[name][1:], terms) for name, terms in TERMS.items()}
    first_s = sum(one[stage][0] - formulas[stage].at(cases[0]) for stage in STAGES)
    overhead_s = (float(np.median(one["spans_s"])) - total_s(one)) / len(cases)
    contention = total_s(two, skip=2) / total_s(one, skip=2)
    return CostModel(formulas, max(first_s, 0.0), max(overhead_s, 0.0), max(contention, 1.0))


def run_of(cohort: Mapping[str, Any], workers: int, in_flight: int = 1) -> Mapping[str, Any]:
    """The run of a cohort of so many workers."""
    return next(run for run in cohort["runs"] if (run["workers"], run["in_flight"]) == (workers, in_flight))


def total_s(run: Mapping[str, Any], skip: int = 0) -> float:
    """Seconds of all stages of a run, those of the first cases apart."""
    return sum(sum(run[stage][skip:]) for stage in STAGES)


def check(model: CostModel, cohort: Mapping[str, Any], workers: int) -> dict[str, float]:
    """Simulated and measured span of a run with one case in hand."""
    stages = [model.seconds(case, workers) for case in cohort["cases"]]
    simulated = simulate(stages, workers=workers, in_flight=1, first_case_s=model.first_case_s)
    measured = float(np.median(run_of(cohort, workers)["spans_s"]))
    return {
        "workers": workers,
        "simulated_s": simulated,
        "measured_s": measured,
        "error_percent": 100 * (simulated / measured - 1),
    }


def simulate(cases: Iterable[Seconds], *, workers: int, in_flight: int, first_case_s: float = 0.0) -> float:
    """Span of a run: each worker has room for ``in_flight`` cases and does each stage for one of them at a time.

    Example:
        >>> cases = [Seconds(1, 2, 1)] * 2
        >>> simulate(cases, workers=1, in_flight=1), simulate(cases, workers=1, in_flight=2)
        (8.0, 6.0)
    """
    # At the start each worker is given one case before any is given two.
    places = [(0.0, slot, worker) for slot in range(in_flight) for worker in range(workers)]
    free_at = [[0.0, 0.0, 0.0] for _ in range(workers)]
    end = 0.0
    for number, stages in enumerate(cases):
        now, slot, worker = heapq.heappop(places)
        if number < workers:
            stages = stages._replace(infer=stages.infer + first_case_s)
        for stage, seconds in enumerate(stages):
            now = max(now, free_at[worker][stage]) + seconds
            free_at[worker][stage] = now
        heapq.heappush(places, (now, slot, worker))
        end = max(end, now)
    return end
