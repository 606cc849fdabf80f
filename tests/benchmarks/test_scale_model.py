from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.scale.model import STAGES, TERMS, Seconds, check, fit, fit_formula, simulate

DURATIONS = st.floats(0.01, 10.0)
CASES = st.lists(st.builds(Seconds, DURATIONS, DURATIONS, DURATIONS), min_size=1, max_size=12)
WORKERS, IN_FLIGHT = st.integers(1, 4), st.integers(1, 3)
TRUTH = {
    "read_s": {"constant": 0.01, "mvoxels": 0.02},
    "infer_s": {"constant": 0.05, "mvoxels": 0.001, "windows": 0.012, "region_mvoxels": 0.1, "lesions": 0.03},
    "write_s": {"constant": 0.02, "mvoxels": 0.0, "slab_mvoxels": 0.02, "region_mvoxels": 0.3},
    "output_mb": {"constant": 0.1, "mvoxels": 0.0, "slab_mvoxels": 0.05, "region_mvoxels": 2.0},
}


@given(CASES)
def test_one_worker_with_one_case_in_hand_takes_the_sum_of_all_stages(cases):
    assert simulate(cases, workers=1, in_flight=1) == pytest.approx(sum(map(sum, cases)))


@given(CASES, IN_FLIGHT, DURATIONS)
def test_the_first_case_of_a_worker_costs_its_constant_once(cases, in_flight, first_s):
    alone = simulate(cases, workers=1, in_flight=1, first_case_s=first_s)
    assert alone == pytest.approx(sum(map(sum, cases)) + first_s)
    assert simulate(cases, workers=1, in_flight=in_flight, first_case_s=first_s) <= alone + 1e-9


@given(CASES, WORKERS)
def test_more_workers_are_never_slower(cases, workers):
    fewer, more = (simulate(cases, workers=n, in_flight=1) for n in (workers, workers + 1))
    assert more <= fewer + 1e-9


@given(CASES, WORKERS, IN_FLIGHT)
def test_no_run_is_faster_than_its_longest_case_or_its_slowest_stage(cases, workers, in_flight):
    span = simulate(cases, workers=workers, in_flight=in_flight)
    assert span >= max(map(sum, cases)) - 1e-9
    assert span >= max(np.sum(cases, axis=0)) / workers - 1e-9
    assert span <= sum(map(sum, cases)) + 1e-9


@given(CASES, WORKERS)
def test_workers_with_one_case_in_hand_obey_the_bounds_of_list_scheduling(cases, workers):
    total, longest = sum(map(sum, cases)), max(map(sum, cases))
    span = simulate(cases, workers=workers, in_flight=1)
    assert total / workers - 1e-9 <= span <= total / workers + (1 - 1 / workers) * longest + 1e-9


@given(st.builds(Seconds, DURATIONS, DURATIONS, DURATIONS), st.integers(1, 30))
def test_three_cases_in_hand_go_at_the_pace_of_the_slowest_stage(stages, count):
    span = simulate([stages] * count, workers=1, in_flight=3)
    assert span == pytest.approx(sum(stages) + (count - 1) * max(stages))


def made_cohort(seed: int = 0, contention: float = 1.0, overhead_s: float = 0.0, first_s: float = 0.0) -> dict:
    """A cohort whose times follow TRUTH exactly."""
    random = np.random.default_rng(seed)
    sizes = list(dict.fromkeys(name for terms in TERMS.values() for name in terms))
    cases = [{name: float(random.uniform(1, 100)) for name in sizes} for _ in range(20)]
    value = {
        name: [sum(v * (1.0 if term == "constant" else case[term]) for term, v in terms.items()) for case in cases]
        for name, terms in TRUTH.items()
    }
    for case, megabytes in zip(cases, value["output_mb"], strict=True):
        case["output_mb"] = megabytes
    runs = []
    for workers, factor in ((1, 1.0), (2, contention)):
        stages = {stage: [factor * v for v in value[stage]] for stage in STAGES}
        stages["infer_s"][:workers] = [v + first_s for v in stages["infer_s"][:workers]]
        triples = [Seconds(r, i, w + overhead_s) for r, i, w in zip(*stages.values(), strict=True)]
        runs.append({"workers": workers, "in_flight": 1} | stages)
        runs[-1]["spans_s"] = [simulate(triples, workers=workers, in_flight=1)]
    return {"cases": cases, "runs": runs}


def test_a_fit_recovers_the_model_that_made_the_times():
    model = fit(made_cohort(contention=1.2, overhead_s=0.03, first_s=0.7))
    for name, terms in TRUTH.items():
        assert model.formulas[name].terms == pytest.approx(terms, abs=1e-6)
    assert (model.first_case_s, model.overhead_s, model.contention) == pytest.approx((0.7, 0.03, 1.2), abs=1e-6)


@pytest.mark.parametrize("workers", [1, 2])
def test_a_fitted_model_foretells_a_cohort_of_other_sizes(workers):
    model = fit(made_cohort(seed=0, contention=1.2, overhead_s=0.03, first_s=0.7))
    row = check(model, made_cohort(seed=1, contention=1.2, overhead_s=0.03, first_s=0.7), workers)
    assert row["error_percent"] == pytest.approx(0, abs=1e-3)


def test_no_term_of_a_fit_is_negative():
    formula = fit_formula([{"windows": n} for n in (1.0, 2.0, 3.0)], [3.0, 2.0, 1.0], ["windows"])
    assert formula.terms == {"constant": pytest.approx(2.0), "windows": 0.0}


def test_sizes_that_go_together_have_a_large_condition():
    cases = [{"a": n, "b": 2 * n + 0.01 * (n % 2)} for n in range(1, 9)]
    assert fit_formula(cases, [1.0] * 8, ["a", "b"]).condition > 100
