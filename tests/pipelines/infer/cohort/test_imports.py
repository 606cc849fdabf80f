"""What a process imports decides its memory and its start: the run finds cases, workers hold the model."""

from __future__ import annotations

import dataclasses
import json
import subprocess
import sys

import pytest

from pipelines.infer.cohort.options import CohortOptions

HEAVY = {"torch", "monai", "scipy", "matplotlib", "nibabel", "pydicom"}


def imported_by(code: str) -> set[str]:
    """Names of the top-level packages that a new Python holds after some code."""
    ask = "import sys, json; print(json.dumps([name for name in sys.modules if '.' not in name]))"
    told = subprocess.run([sys.executable, "-c", f"{code}\n{ask}"], check=True, capture_output=True, text=True)
    return set(json.loads(told.stdout.splitlines()[-1]))


def infer(cohort: CohortOptions, *arguments: str) -> str:
    options = ["--input-dir", cohort.input_dir, "--output-dir", cohort.output_dir, "--checkpoint", cohort.checkpoint]
    given = ["infer", *map(str, options), "--device", "cpu", "--workers", "1", *arguments]
    return f"from pipelines.cli import invoke\nassert invoke({given!r}) == 0"


def test_cases_are_found_without_pytorch(cohort: CohortOptions):
    assert imported_by(infer(cohort, "--dry-run")) & HEAVY == set()


@pytest.mark.slow
def test_a_run_leaves_pytorch_to_its_workers(cohort: CohortOptions):
    few = dataclasses.replace(cohort, input_dir=cohort.input_dir / "site 0")
    assert imported_by(infer(few)) & HEAVY == set()


def test_the_network_and_its_weights_need_no_monai():
    loaded = imported_by("import mose_med.checkpoint")
    assert "torch" in loaded
    assert "monai" not in loaded
