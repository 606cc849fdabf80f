"""That the measuring scripts run and tell what the page needs; what they measure is the machine's affair."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from benchmarks.pages import RESULTS
from benchmarks.scale.cohort import STAGES, measure, write_weights
from benchmarks.scale.cohort_driver import drive
from benchmarks.scale.model import TERMS, fit
from benchmarks.scale.simulation import read_measurements


def test_the_driver_takes_the_steps_that_the_page_has():
    steps = read_measurements(RESULTS)["cohort_driver"]["runs"][0]["steps"]
    run = drive(30, 2)
    assert [step["step"] for step in run["steps"]] == [step["step"] for step in steps]
    assert run["journal_mb"] > 0
    assert run["summary_mb"] > 0


@pytest.mark.slow
def test_a_cohort_is_measured_case_by_case(tmp_path: Path):
    cohort = measure(tmp_path, write_weights(tmp_path / "weights.pt"), "check", cases=4, repeats=1)
    assert all(set(sum(TERMS.values(), ())) <= set(case) for case in cohort["cases"])
    for run in cohort["runs"]:
        assert all(len(run[stage]) == 4 for stage in STAGES)
        assert run["spans_s"][0] * run["workers"] >= np.sum([run[stage] for stage in STAGES]) * 0.99
    assert fit(cohort).overhead_s < 1.0
